import type { Queryable } from './transaction.ts';

/** Deliveries that turned out to have no message wait in Postgres again, until their next attempt is due. */
export async function returnToWaiting(db: Queryable, deliveryIds: readonly string[]): Promise<void> {
  await db.query(`UPDATE deliveries SET enqueued_at = NULL WHERE id = ANY ($1::uuid[]) AND status = 'PENDING'`, [
    deliveryIds,
  ]);
}

/**
 * Does the same for up to `limit` deliveries enqueued before `horizon`, the moment before which no message is alive,
 * and returns how many there were.
 */
export async function returnLostToWaiting(
  db: Queryable,
  { horizon, limit }: { horizon: Date; limit: number },
): Promise<number> {
  const { rowCount } = await db.query(
    `UPDATE deliveries SET enqueued_at = NULL WHERE id IN (
       SELECT id FROM deliveries WHERE status = 'PENDING' AND enqueued_at < $1
         AND (leased_until IS NULL OR leased_until < now())
       ORDER BY enqueued_at LIMIT $2 FOR UPDATE SKIP LOCKED
     )`,
    [horizon, limit],
  );
  return rowCount ?? 0;
}
