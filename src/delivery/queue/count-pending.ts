import type { Queryable } from '../../postgres/transaction.ts';

/** Why a pending delivery is not being attempted: its turn has not come yet, its time has not, or it is held back. */
type Lane = (typeof LANES)[number];
export const LANES = ['runnable', 'waiting', 'parked'] as const;

type LaneCount = {
  readonly lane: Lane;
  readonly count: number;
  /** Of the oldest one: for how many seconds it has been due and, if it is runnable, published; null if none is due. */
  readonly overdueSeconds: number | null;
};

/** No more are counted, of those with a live message and of those without one: that bounds what counting costs. */
const MAX_COUNTED = 100_000;
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
// is parked is found queue by queue: a scan would read what is not due first. What is published has been due for long if
// it was parked before, which is not what it waits for now.
const STATEMENT = `
  WITH pending AS (
    (SELECT 'runnable' AS lane, greatest(d.enqueued_at, d.next_attempt_at) AS since
     ${LIVE} AND d.next_attempt_at <= now() LIMIT $1)
    UNION ALL
    (SELECT 'runnable', due.next_attempt_at FROM subscription_states st
     CROSS JOIN LATERAL (SELECT d.next_attempt_at ${STORED} AND ${OF_QUEUE} LIMIT $1) AS due
     WHERE st.next_due_at <= now() AND NOT st.is_backlogged LIMIT $1)
    UNION ALL
    (SELECT 'waiting', NULL ${LIVE} AND d.next_attempt_at > now() LIMIT $1)
    UNION ALL
    (SELECT 'waiting', NULL ${STORED} AND d.next_attempt_at > now() LIMIT $1)
    UNION ALL
    (SELECT 'parked', due.next_attempt_at FROM subscription_states st
     CROSS JOIN LATERAL (SELECT d.next_attempt_at ${STORED} AND ${OF_QUEUE} LIMIT $1) AS due
     WHERE st.next_due_at IS NOT NULL AND st.is_backlogged LIMIT $1)
  )
  SELECT lane, least($1, count(*))::integer AS count,
    extract(epoch FROM now() - min(since))::float8 AS "overdueSeconds"
  FROM pending GROUP BY lane`;
