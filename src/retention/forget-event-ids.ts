import type { Queryable } from '../postgres/transaction.ts';

export type IdPage = {
  /** Of event rows: from this one on, before that one. */
  readonly fromId: string;
  readonly toId: string;
  readonly limit: number;
};

/**
 * Forgets the publishers' ids of up to `limit` events of a range, unless the event is still there. Returns how many
 * were forgotten, and where to go on; undefined if there are no more.
 */
export async function forgetEventIds(
  db: Queryable,
  page: IdPage,
): Promise<{ readonly count: number; readonly nextFromId: string | undefined }> {
  const { rows } = await db.query<{ count: number; last: string | null; seen: number }>(STATEMENT, [
    page.fromId,
    page.toId,
    page.limit,
  ]);
  const { count = 0, last = null, seen = 0 } = rows[0] ?? {};
  return { count, nextFromId: seen < page.limit ? undefined : (last ?? undefined) };
}

// The bounds on e.id are said twice, so that Postgres leaves out the partitions that have none of it.
const STATEMENT = `
  WITH page AS (
    SELECT event_row_id FROM event_ids WHERE event_row_id >= $1 AND event_row_id < $2
    ORDER BY event_row_id LIMIT $3
  ), forgotten AS (
    DELETE FROM event_ids i USING page WHERE i.event_row_id = page.event_row_id
      AND NOT EXISTS (SELECT FROM events e WHERE e.id = page.event_row_id AND e.id >= $1 AND e.id < $2)
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM forgotten)::integer AS count, (SELECT max(event_row_id::text) FROM page) AS last,
    (SELECT count(*) FROM page)::integer AS seen`;
