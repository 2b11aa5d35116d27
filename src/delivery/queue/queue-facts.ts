import type { Queryable } from '../../postgres/transaction.ts';

export type QueueFacts = {
  readonly openCircuits: number;
  /** Pending deliveries, by Postgres's own statistics: some minutes old, and some percent off. */
  readonly pendingEstimate: number;
};

/** What is known of the queues without counting them. */
export async function readQueueFacts(db: Queryable): Promise<QueueFacts> {
  const { rows } = await db.query<QueueFacts>(STATEMENT);
  if (rows[0] === undefined) throw new Error('Postgres did not say anything about the queues');
  return rows[0];
}

// How many rows a partial index has is noted by each ANALYZE, -1 before the first.
const STATEMENT = `
  SELECT (SELECT count(*)::integer FROM subscription_states WHERE opened_at IS NOT NULL) AS "openCircuits",
    (
      SELECT coalesce(sum(greatest(0, c.reltuples)), 0)::float8 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent IN ('deliveries_waiting_idx'::regclass, 'deliveries_enqueued_idx'::regclass)
    ) AS "pendingEstimate"`;
