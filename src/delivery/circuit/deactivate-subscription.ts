import { cancelPending } from '../queue/cancel-pending.ts';
import { closeCircuit } from '../queue/close-circuit.ts';
import { deactivate } from './deactivate.ts';
import type { Queryable } from '../../postgres/transaction.ts';
import type { DeliveryMessage } from '../queue/delivery-message.ts';
import type { DeactivationReason } from '../../generated/prisma/client.ts';
import { recordSubscriptionEvent } from './subscription-events.ts';

/** Cancelled with the deactivation itself; the sweeper cancels the rest of a longer backlog. */
export const CANCEL_AT_ONCE = 5_000;

/**
 * Switches a subscription off, cancels what is pending, and tells the tenant. Returns the messages to be published once
 * that is committed; undefined if it was not active.
 */
export async function deactivateSubscription(
  db: Queryable,
  { subscriptionId, reason }: { readonly subscriptionId: string; readonly reason: DeactivationReason },
): Promise<readonly DeliveryMessage[] | undefined> {
  const deactivated = await deactivate(db, { subscriptionId, reason });
  if (deactivated === undefined) return undefined;
  await cancelPending(db, { subscriptionId, limit: CANCEL_AT_ONCE });
  await closeCircuit(db, subscriptionId);
  return recordSubscriptionEvent(db, {
    ...{ tenant: deactivated.tenant, subscriptionId, url: deactivated.url, type: 'webhook_subscription.deactivated' },
    data: { reason },
  });
}
