import type { Queryable } from '../postgres/transaction.ts';

/** Deletes up to `limit` replays that have ended and are older than the retention, and returns how many there were. */
export async function deleteOldReplays(
  db: Queryable,
  { beforeId, limit }: { readonly beforeId: string; readonly limit: number },
): Promise<number> {
  const { rows } = await db.query(
    `DELETE FROM replays WHERE id IN (
       SELECT id FROM replays WHERE id < $1 AND status <> 'RUNNING' ORDER BY id LIMIT $2
     ) RETURNING id`,
    [beforeId, limit],
  );
  return rows.length;
}
