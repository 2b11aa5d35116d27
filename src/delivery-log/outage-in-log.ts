import type { Queryable } from '../postgres/transaction.ts';
import { uuid7Floor, uuid7Time } from '../lib/uuid7.ts';

/**
 * When the last attempt before an outage of Postgres was made, if one is under way or was over only since then: the log
 * has a hole of that length. After a quiet time it has one as well.
 */
export async function outageInLog(
  db: Queryable,
  { nowMs, sinceMs, lengthMs }: { readonly nowMs: number; readonly sinceMs: number; readonly lengthMs: number },
): Promise<number | undefined> {
  const { rows } = await db.query<{ id: string }>(STATEMENT, [uuid7Floor(sinceMs)]);
  const times = rows.map(({ id }) => uuid7Time(id));
  return times.find((time, index) => (times[index + 1] ?? nowMs) - time > lengthMs);
}

// One attempt of each quarter of a second is enough, which is what the first ten digits say.
const STATEMENT = `
  (SELECT id::text FROM attempts WHERE id <= $1 ORDER BY attempts.id DESC LIMIT 1)
  UNION ALL SELECT max(id::text) FROM attempts WHERE id > $1 GROUP BY left(id::text, 11)
  ORDER BY id`;
