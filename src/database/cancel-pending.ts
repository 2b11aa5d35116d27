import type { Queryable } from './transaction.ts';

/** Cancels up to `limit` pending deliveries of a subscription, and returns how many there were. */
export async function cancelPending(
  db: Queryable,
  { subscriptionId, limit }: { readonly subscriptionId: string; readonly limit: number },
): Promise<number> {
  const { rowCount } = await db.query(
    `WITH pending AS (
       (SELECT id FROM deliveries WHERE subscription_id = $1 AND status = 'PENDING' AND enqueued_at IS NOT NULL
        LIMIT $2 FOR UPDATE)
       UNION ALL
       (SELECT id FROM deliveries WHERE subscription_id = $1 AND status = 'PENDING' AND enqueued_at IS NULL
        LIMIT $2 FOR UPDATE)
     )
     UPDATE deliveries d SET status = 'CANCELLED', completed_at = now(), next_attempt_at = NULL, waiting_for = NULL,
       enqueued_at = NULL
     FROM (SELECT id FROM pending LIMIT $2) AS p WHERE d.id = p.id`,
    [subscriptionId, limit],
  );
  return rowCount ?? 0;
}
