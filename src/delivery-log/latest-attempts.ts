import type { Queryable } from '../postgres/transaction.ts';

const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

/** The last attempt that each process has logged since, up to an id if one is given: its id, and the sequence its ids come from (see uuid7.ts). */
export async function latestAttempts(
  db: Queryable,
  { sinceId, untilId = LAST_ID }: { readonly sinceId: string; readonly untilId?: string },
): Promise<{ readonly source: string; readonly id: string }[]> {
  // As text, in which ids have the same order: Postgres before 18 has no max() of UUIDs.
  const { rows } = await db.query<{ source: string; id: string }>(
    'SELECT right(id::text, 12) AS source, max(id::text) AS id FROM attempts WHERE id > $1 AND id <= $2 GROUP BY 1',
    [sinceId, untilId],
  );
  return rows;
}
