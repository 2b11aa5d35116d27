import { Gauge, type Registry } from 'prom-client';
import { cachedRead } from '../../lib/cached-read.ts';
import { type Database, type Queryable, transaction } from '../../postgres/client.ts';

/** Milliseconds: counts are read again after FRESH_MS, and not shown if older than STALE_MS. */
const FRESH_MS = 15_000;
const STALE_MS = 60_000;
const WAIT_MS = 2_000;
/** Limit of each part of the count, which bounds its cost. */
const MAX_COUNTED = 100_000;
const TIMEOUT_MS = 5_000;

/**
 * Registers gauges of pending deliveries, for all processes together. A value that Postgres does not return in time is
 * omitted. Reads through the pool of GraphQL, so that counting does not delay deliveries.
 */
export function registerQueueMetrics(metrics: Registry, { readPool }: Pick<Database, 'readPool'>): void {
  const options = { freshMs: FRESH_MS, staleMs: STALE_MS, waitMs: WAIT_MS };
  const lanes = cachedRead(() => transaction(readPool, countPending), options);
  const facts = cachedRead(() => readQueueFacts(readPool), options);
  const registers = [metrics];
  new Gauge({
    registers,
    name: 'webhooks_deliveries_pending',
    labelNames: ['lane'],
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
    registers,
    name: 'webhooks_deliveries_overdue_seconds',
    labelNames: ['lane'],
    help: 'Seconds since the oldest counted delivery of the lane became due or, if it is runnable, was published, whichever is later; 0 if none is due',
    async collect() {
      this.reset();
      const counts = await lanes();
      // Deliveries in the lane `waiting` are not due.
      for (const lane of counts === undefined ? [] : (['runnable', 'parked'] as const)) {
        this.set({ lane }, counts?.find((one) => one.lane === lane)?.overdueSeconds ?? 0);
      }
    },
  });
  new Gauge({
    registers,
    name: 'webhooks_deliveries_pending_estimate',
    help: "Pending deliveries of all lanes by Postgres's statistics, without a limit; minutes old",
    async collect() {
      setOrRemove(this, (await facts())?.pendingEstimate);
    },
  });
  new Gauge({
    registers,
    name: 'webhooks_circuits_open',
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

/** Runnable: due, without a backlog before it. Waiting: not due. Parked: due, behind the backlog of its subscription. */
type Lane = (typeof LANES)[number];
const LANES = ['runnable', 'waiting', 'parked'] as const;

type LaneCount = {
  readonly lane: Lane;
  readonly count: number;
  /** Seconds since its oldest delivery became due or, if later, was published; null if none is due. */
  readonly overdueSeconds: number | null;
};

/**
 * Counts pending deliveries by lane. Must run in its own transaction, because it changes settings of the transaction.
 * Empty lanes are omitted.
 */
export async function countPending(db: Queryable): Promise<LaneCount[]> {
  await db.query(`SET LOCAL statement_timeout = ${TIMEOUT_MS}`);
  // On busy tables Postgres would prefer reading all rows, ended deliveries too, to the partial indexes.
  await db.query('SET LOCAL enable_seqscan = off');
  // With sequential scans off, the plan's cost is inflated and would trigger JIT compilation.
  await db.query('SET LOCAL jit = off');
  const { rows } = await db.query<LaneCount>(COUNT_PENDING, [MAX_COUNTED]);
  return rows;
}

const PUBLISHED = `FROM deliveries d WHERE d.status = 'PENDING' AND d.enqueued_at IS NOT NULL`;
const QUEUED = `FROM deliveries d WHERE d.status = 'PENDING' AND d.enqueued_at IS NULL`;
const OF_SUBSCRIPTION_AND_DUE = 'd.subscription_id = st.subscription_id AND d.next_attempt_at <= now()';

// All conditions are on columns of the partial indexes, so only rows that count are read from the table. Due queued
// deliveries are read by subscription: a scan would first read those that are not due. A published delivery that was
// parked has been due for longer, but it counts as waiting for its attempt only since its publication.
const COUNT_PENDING = `
  WITH pending AS (
    (SELECT 'runnable' AS lane, greatest(d.enqueued_at, d.next_attempt_at) AS since
     ${PUBLISHED} AND d.next_attempt_at <= now() LIMIT $1)
    UNION ALL
    (SELECT 'runnable', due.next_attempt_at FROM subscription_states st
     CROSS JOIN LATERAL (SELECT d.next_attempt_at ${QUEUED} AND ${OF_SUBSCRIPTION_AND_DUE} LIMIT $1) AS due
     WHERE st.next_sweep_at <= now() AND NOT st.is_backlogged LIMIT $1)
    UNION ALL
    (SELECT 'waiting', NULL ${PUBLISHED} AND d.next_attempt_at > now() LIMIT $1)
    UNION ALL
    (SELECT 'waiting', NULL ${QUEUED} AND d.next_attempt_at > now() LIMIT $1)
    UNION ALL
    (SELECT 'parked', due.next_attempt_at FROM subscription_states st
     CROSS JOIN LATERAL (SELECT d.next_attempt_at ${QUEUED} AND ${OF_SUBSCRIPTION_AND_DUE} LIMIT $1) AS due
     WHERE st.next_sweep_at IS NOT NULL AND st.is_backlogged LIMIT $1)
  )
  SELECT lane, least($1, count(*))::integer AS count,
    extract(epoch FROM now() - min(since))::float8 AS "overdueSeconds"
  FROM pending GROUP BY lane`;

type QueueFacts = {
  readonly openCircuits: number;
  /** Pending deliveries by Postgres's statistics: some minutes old, and some percent off. */
  readonly pendingEstimate: number;
};

/** Facts about the queues that are cheap to read. */
async function readQueueFacts(db: Queryable): Promise<QueueFacts> {
  const { rows } = await db.query<QueueFacts>(QUEUE_FACTS);
  if (rows[0] === undefined) throw new Error('reading queue facts returned no row');
  return rows[0];
}

// ANALYZE stores the number of rows of a partial index in reltuples; it is -1 before the first ANALYZE.
const QUEUE_FACTS = `
  SELECT (SELECT count(*)::integer FROM subscription_states WHERE opened_at IS NOT NULL) AS "openCircuits",
    (
      SELECT coalesce(sum(greatest(0, c.reltuples)), 0)::float8 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent IN ('deliveries_waiting_idx'::regclass, 'deliveries_enqueued_idx'::regclass)
    ) AS "pendingEstimate"`;
