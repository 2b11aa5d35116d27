import type { Queryable } from './transaction.ts';
import { wakeQueues } from './wake-queues.ts';

/**
 * Up to `limit` deliveries enqueued before `horizon`, the moment before which no message is alive, wait in Postgres
 * again. Returns how many there were.
 */
export async function returnLostToWaiting(
  db: Queryable,
  { horizon, limit }: { horizon: Date; limit: number },
): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `WITH lost AS (
       SELECT id FROM deliveries WHERE status = 'PENDING' AND enqueued_at < $1
         AND (leased_until IS NULL OR leased_until < now())
       LIMIT $2 FOR UPDATE SKIP LOCKED
     ), returned AS (
       UPDATE deliveries SET enqueued_at = NULL WHERE id = ANY (ARRAY(SELECT id FROM lost))
       RETURNING subscription_id, next_attempt_at
     )${wakeQueues('returned')} RETURNING (SELECT count(*) FROM returned)::integer AS count`,
    [horizon, limit],
  );
  return rows[0]?.count ?? 0;
}
