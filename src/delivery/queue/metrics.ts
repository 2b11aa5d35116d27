import { Gauge, type Registry } from 'prom-client';
import { cachedRead } from '../../lib/cached-read.ts';
import { type Database, type Queryable, transaction } from '../../postgres/client.ts';

/** Counting costs something, so it is done so rarely; it tells how old it is at most. */
const FRESH_MS = 15_000;
const STALE_MS = 60_000;
const WAIT_MS = 2_000;

/**
 * Shows what waits for its attempt, for all processes together; what Postgres does not say in time is left out. Read with
 * the connections of GraphQL: delivering does not wait for it.
 */
export function watchQueues(metrics: Registry, { readPool }: Pick<Database, 'readPool'>): void {
  const options = { freshMs: FRESH_MS, staleMs: STALE_MS, waitMs: WAIT_MS };
  const lanes = cachedRead(() => transaction(readPool, countPending), options);
  const facts = cachedRead(() => readQueueFacts(readPool), options);
  const registers = [metrics];
  new Gauge({
    ...{ registers, name: 'webhooks_deliveries_pending', labelNames: ['lane'] },
    help: 'Pending deliveries by lane, counted to 100,000',
    async collect() {
      this.reset();
      const counts = await lanes();
      for (const lane of counts === undefined ? [] : LANES) {
        this.set({ lane }, counts?.find((one) => one.lane === lane)?.count ?? 0);
      }
    },
  });
  new Gauge({
    ...{ registers, name: 'webhooks_deliveries_overdue_seconds', labelNames: ['lane'] },
    help: 'For how many seconds the oldest delivery of the lane, of those that are counted, has been due and, if it is runnable, published; 0 if none is due',
    async collect() {
      this.reset();
      const counts = await lanes();
      // What waits is not due.
      for (const lane of counts === undefined ? [] : (['runnable', 'parked'] as const)) {
        this.set({ lane }, counts?.find((one) => one.lane === lane)?.overdueSeconds ?? 0);
      }
    },
  });
  new Gauge({
    ...{ registers, name: 'webhooks_deliveries_pending_estimate' },
    help: 'Pending deliveries of all lanes as Postgres estimates them, without a limit; minutes old',
    async collect() {
      setOrRemove(this, (await facts())?.pendingEstimate);
    },
  });
  new Gauge({
    ...{ registers, name: 'webhooks_circuits_open' },
    help: 'Webhook subscriptions whose circuit is open',
    async collect() {
      setOrRemove(this, (await facts())?.openCircuits);
    },
  });
}

function setOrRemove(gauge: Gauge, value: number | undefined): void {
  if (value === undefined) gauge.remove();
  else gauge.set(value);
}

/** Why a pending delivery is not being attempted: its turn has not come yet, its time has not, or it is held back. */
type Lane = (typeof LANES)[number];
const LANES = ['runnable', 'waiting', 'parked'] as const;

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
  const { rows } = await db.query<LaneCount>(COUNT_PENDING, [MAX_COUNTED]);
  return rows;
}

const LIVE = `FROM deliveries d WHERE d.status = 'PENDING' AND d.enqueued_at IS NOT NULL`;
const STORED = `FROM deliveries d WHERE d.status = 'PENDING' AND d.enqueued_at IS NULL`;
const OF_QUEUE = 'd.subscription_id = st.subscription_id AND d.next_attempt_at <= now()';

// Every condition is one on a column of the partial indexes, so that only rows that count are looked at in the table. What
// is parked is found queue by queue: a scan would read what is not due first. What is published has been due for long if
// it was parked before, which is not what it waits for now.
const COUNT_PENDING = `
  WITH pending AS (
    (SELECT 'runnable' AS lane, greatest(d.enqueued_at, d.next_attempt_at) AS since
     ${LIVE} AND d.next_attempt_at <= now() LIMIT $1)
    UNION ALL
    (SELECT 'runnable', due.next_attempt_at FROM subscription_states st
     CROSS JOIN LATERAL (SELECT d.next_attempt_at ${STORED} AND ${OF_QUEUE} LIMIT $1) AS due
     WHERE st.next_sweep_at <= now() AND NOT st.is_backlogged LIMIT $1)
    UNION ALL
    (SELECT 'waiting', NULL ${LIVE} AND d.next_attempt_at > now() LIMIT $1)
    UNION ALL
    (SELECT 'waiting', NULL ${STORED} AND d.next_attempt_at > now() LIMIT $1)
    UNION ALL
    (SELECT 'parked', due.next_attempt_at FROM subscription_states st
     CROSS JOIN LATERAL (SELECT d.next_attempt_at ${STORED} AND ${OF_QUEUE} LIMIT $1) AS due
     WHERE st.next_sweep_at IS NOT NULL AND st.is_backlogged LIMIT $1)
  )
  SELECT lane, least($1, count(*))::integer AS count,
    extract(epoch FROM now() - min(since))::float8 AS "overdueSeconds"
  FROM pending GROUP BY lane`;

type QueueFacts = {
  readonly openCircuits: number;
  /** Pending deliveries, by Postgres's own statistics: some minutes old, and some percent off. */
  readonly pendingEstimate: number;
};

/** What is known of the queues without counting them. */
async function readQueueFacts(db: Queryable): Promise<QueueFacts> {
  const { rows } = await db.query<QueueFacts>(QUEUE_FACTS);
  if (rows[0] === undefined) throw new Error('Postgres did not say anything about the queues');
  return rows[0];
}

// How many rows a partial index has is noted by each ANALYZE, -1 before the first.
const QUEUE_FACTS = `
  SELECT (SELECT count(*)::integer FROM subscription_states WHERE opened_at IS NOT NULL) AS "openCircuits",
    (
      SELECT coalesce(sum(greatest(0, c.reltuples)), 0)::float8 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent IN ('deliveries_waiting_idx'::regclass, 'deliveries_enqueued_idx'::regclass)
    ) AS "pendingEstimate"`;
