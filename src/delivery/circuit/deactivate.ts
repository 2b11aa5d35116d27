import type { DeactivationReason } from '../../generated/prisma/enums.ts';
import type { Queryable } from '../../postgres/transaction.ts';

/** Switches an active subscription off; undefined if it is not active. */
export async function deactivate(
  db: Queryable,
  { subscriptionId, reason }: { readonly subscriptionId: string; readonly reason: DeactivationReason },
): Promise<{ readonly tenant: string; readonly url: string } | undefined> {
  const { rows } = await db.query<{ tenant: string; url: string }>(
    `UPDATE webhook_subscriptions SET is_active = false, deactivation_reason = $2
     WHERE id = $1 AND is_active AND deleted_at IS NULL
     RETURNING tenant, url`,
    [subscriptionId, reason],
  );
  return rows[0];
}
