import type { Queryable } from '../postgres/transaction.ts';
import { uuid7Time } from '../lib/uuid7.ts';

/** Deletes up to `limit` counts of hours that are older than the retention, and returns how many there were. */
export async function deleteOldCounts(
  db: Queryable,
  { beforeId, limit }: { readonly beforeId: string; readonly limit: number },
): Promise<number> {
  const { rows } = await db.query(
    `DELETE FROM attempt_counts WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM attempt_counts WHERE hour < $1::timestamptz - interval '1 hour' ORDER BY hour LIMIT $2
     )) RETURNING 1`,
    [new Date(uuid7Time(beforeId)), limit],
  );
  return rows.length;
}
