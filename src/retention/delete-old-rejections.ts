import type { Queryable } from '../postgres/transaction.ts';

/** Deletes up to `limit` rejections that are older than the retention, and returns how many there were. */
export async function deleteOldRejections(
  db: Queryable,
  { beforeId, limit }: { readonly beforeId: string; readonly limit: number },
): Promise<number> {
  const { rows } = await db.query(
    `DELETE FROM rejected_events WHERE id IN (SELECT id FROM rejected_events WHERE id < $1 ORDER BY id LIMIT $2)
     RETURNING id`,
    [beforeId, limit],
  );
  return rows.length;
}
