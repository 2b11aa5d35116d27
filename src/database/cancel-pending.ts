import type { Queryable } from './transaction.ts';

/**
 * Cancels up to `limit` pending deliveries of a subscription, and returns how many there were. What others have locked
 * is left: the sweeper, which holds the subscription's state, must not wait for those who wait for that. They bring the
 * delivery back into the queue, or its message to a sender, and there it ends.
 */
export async function cancelPending(
  db: Queryable,
  { subscriptionId, limit }: { readonly subscriptionId: string; readonly limit: number },
): Promise<number> {
  const { rowCount } = await db.query(
    `WITH enqueued AS (
       SELECT id FROM deliveries WHERE subscription_id = $1 AND status = 'PENDING' AND enqueued_at IS NOT NULL
       LIMIT $2 FOR UPDATE SKIP LOCKED
     ), waiting AS (
       SELECT id FROM deliveries WHERE subscription_id = $1 AND status = 'PENDING' AND enqueued_at IS NULL
       LIMIT $2 FOR UPDATE SKIP LOCKED
     ), pending AS (
       SELECT id FROM enqueued UNION ALL SELECT id FROM waiting LIMIT $2
     )
     UPDATE deliveries d SET status = 'CANCELLED', completed_at = now(), next_attempt_at = NULL, waiting_for = NULL,
       enqueued_at = NULL
     WHERE d.id = ANY (ARRAY(SELECT id FROM pending))`,
    [subscriptionId, limit],
  );
  return rowCount ?? 0;
}
