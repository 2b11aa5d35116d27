import { cancelPending } from '../database/cancel-pending.ts';
import { closeCircuit } from '../database/close-circuit.ts';
import { deactivate } from '../database/deactivate.ts';
import type { Queryable } from '../database/transaction.ts';
import type { DeactivationReason } from '../generated/prisma/client.ts';
import { recordSubscriptionEvent } from './subscription-events.ts';

/** Cancelled with the deactivation itself; the sweeper cancels the rest of a longer backlog. */
export const CANCEL_AT_ONCE = 5_000;

/** Switches a subscription off, cancels what is pending, and tells the tenant. False if it was not active. */
export async function deactivateSubscription(
  db: Queryable,
  { subscriptionId, reason }: { readonly subscriptionId: string; readonly reason: DeactivationReason },
): Promise<boolean> {
  const deactivated = await deactivate(db, { subscriptionId, reason });
  if (deactivated === undefined) return false;
  await cancelPending(db, { subscriptionId, limit: CANCEL_AT_ONCE });
  await closeCircuit(db, subscriptionId);
  await recordSubscriptionEvent(db, {
    ...{ tenant: deactivated.tenant, subscriptionId, type: 'webhook_subscription.deactivated' },
    data: { url: deactivated.url, reason },
  });
  return true;
}
