import type { Queryable } from './transaction.ts';

/** Why a pending delivery is not being attempted: its turn has not come yet, its time has not, or it is held back. */
export type Lane = (typeof LANES)[number];
export const LANES = ['runnable', 'waiting', 'parked'] as const;

type LaneCount = {
  readonly lane: Lane;
  readonly count: number;
  /** For how many seconds the one that has been due for longest has been; null if none is. */
  readonly overdueSeconds: number | null;
};

/** No more are counted, of those with a live message and of those without one: that bounds what counting costs. */
export const MAX_COUNTED = 100_000;
const TIMEOUT_MS = 5_000;

/** Counts pending deliveries by lane; to be called in a transaction of its own. Lanes that are empty are left out. */
export async function countPending(db: Queryable): Promise<LaneCount[]> {
  await db.query(`SET LOCAL statement_timeout = ${TIMEOUT_MS}`);
  // Of tables that are written to a lot, Postgres would read all, ended deliveries too, rather than the partial indexes.
  await db.query('SET LOCAL enable_seqscan = off');
  // And then take its own word for it that the statement is dear, and compile it.
  await db.query('SET LOCAL jit = off');
  const { rows } = await db.query<LaneCount>(STATEMENT, [MAX_COUNTED]);
  return rows;
}

const LIVE = `FROM deliveries d WHERE d.status = 'PENDING' AND d.enqueued_at IS NOT NULL`;
const STORED = `FROM deliveries d WHERE d.status = 'PENDING' AND d.enqueued_at IS NULL`;
const OF_QUEUE = 'd.subscription_id = st.subscription_id AND d.next_attempt_at <= now()';

// Every condition is one on a column of the partial indexes, so that only rows that count are looked at in the table. What
// waits is found queue by queue where it is due: a scan would read what is not due first.
const STATEMENT = `
  WITH pending AS (
    (SELECT 'runnable' AS lane, d.next_attempt_at ${LIVE} AND d.next_attempt_at <= now() LIMIT $1)
    UNION ALL
    (SELECT 'runnable', due.next_attempt_at FROM subscription_states st
     CROSS JOIN LATERAL (SELECT d.next_attempt_at ${STORED} AND ${OF_QUEUE} LIMIT $1) AS due
     WHERE st.next_due_at <= now() AND NOT st.is_backlogged LIMIT $1)
    UNION ALL
    (SELECT 'waiting', d.next_attempt_at ${LIVE} AND d.next_attempt_at > now() LIMIT $1)
    UNION ALL
    (SELECT 'waiting', d.next_attempt_at ${STORED} AND d.next_attempt_at > now() LIMIT $1)
    UNION ALL
    (SELECT 'parked', due.next_attempt_at FROM subscription_states st
     CROSS JOIN LATERAL (SELECT d.next_attempt_at ${STORED} AND ${OF_QUEUE} LIMIT $1) AS due
     WHERE st.next_due_at IS NOT NULL AND st.is_backlogged LIMIT $1)
  )
  SELECT lane, least($1, count(*))::integer AS count,
    (extract(epoch FROM now() - min(next_attempt_at) FILTER (WHERE next_attempt_at <= now())))::float8 AS "overdueSeconds"
  FROM pending GROUP BY lane`;
