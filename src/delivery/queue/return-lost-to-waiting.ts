import type { Queryable } from '../../postgres/transaction.ts';
import { wakeQueues } from './wake-queues.ts';

/**
 * Up to `limit` deliveries wait in Postgres again that were enqueued `slackMs` before the `oldest` message that is alive,
 * and that long ago. Returns how many there were.
 */
export async function returnLostToWaiting(
  db: Queryable,
  { oldest, slackMs, limit }: { readonly oldest: Date | undefined; readonly slackMs: number; readonly limit: number },
): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `WITH lost AS (
       SELECT id FROM deliveries WHERE status = 'PENDING' AND enqueued_at < least($1::timestamptz, now()) - $3::integer * interval '1 ms'
         AND (leased_until IS NULL OR leased_until < now())
       LIMIT $2 FOR UPDATE SKIP LOCKED
     ), returned AS (
       UPDATE deliveries SET enqueued_at = NULL WHERE id = ANY (ARRAY(SELECT id FROM lost))
       RETURNING subscription_id, next_attempt_at
     )${wakeQueues('returned')} RETURNING (SELECT count(*) FROM returned)::integer AS count`,
    [oldest ?? null, limit, slackMs],
  );
  return rows[0]?.count ?? 0;
}
