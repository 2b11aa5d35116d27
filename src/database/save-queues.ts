import type { Queryable } from './transaction.ts';

/** What looking after a subscription's waiting deliveries changed about it. */
export type QueueChange = {
  readonly subscriptionId: string;
  /** When to look again if something that is due was left, or in any case. */
  readonly recheckMs: number;
  readonly mustRecheck: boolean;
  readonly releaseWindow: number | null;
  /** Null: stays as it is. */
  readonly nextSlotInMs: number | null;
  /** When to release the next probe; null: stays as it is. */
  readonly nextProbeInMs: number | null;
};

/**
 * How long after a backlog is gone it is looked again: a transaction that inserted a delivery behind it, unseen, has
 * ended by then.
 */
const STRAGGLER_MS = 45_000;

/** Notes when each of these subscriptions, locked in this transaction, has to be looked after next. */
export async function saveQueues(db: Queryable, changes: readonly QueueChange[]): Promise<void> {
  await db.query(STATEMENT, [
    changes.map(({ subscriptionId }) => subscriptionId),
    changes.map(({ recheckMs }) => recheckMs),
    changes.map(({ releaseWindow }) => releaseWindow),
    changes.map(({ nextSlotInMs }) => nextSlotInMs),
    changes.map(({ nextProbeInMs }) => nextProbeInMs),
    changes.map(({ mustRecheck }) => mustRecheck),
    STRAGGLER_MS,
  ]);
}

const STATEMENT = `
  UPDATE subscription_states st SET
    next_due_at = CASE
      WHEN n.has_due OR c.must_recheck THEN now() + c.recheck_ms * interval '1 ms'
      WHEN st.is_backlogged THEN least(n.due_at, now() + $7 * interval '1 ms')
      ELSE n.due_at END,
    is_backlogged = n.has_due OR st.opened_at IS NOT NULL,
    release_window = CASE WHEN n.has_due OR st.opened_at IS NOT NULL THEN c.release_window END,
    next_slot_at = coalesce(now() + c.next_slot_in_ms * interval '1 ms', st.next_slot_at),
    probe_at = coalesce(now() + c.next_probe_in_ms * interval '1 ms', st.probe_at),
    probe_wait_ms = coalesce(c.next_probe_in_ms, st.probe_wait_ms)
  FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::float8[], $5::integer[], $6::boolean[])
    AS c (subscription_id, recheck_ms, release_window, next_slot_in_ms, next_probe_in_ms, must_recheck)
  CROSS JOIN LATERAL (
    SELECT (
      SELECT d.next_attempt_at FROM deliveries d
      WHERE d.subscription_id = c.subscription_id AND d.status = 'PENDING' AND d.enqueued_at IS NULL
      ORDER BY d.next_attempt_at LIMIT 1
    )
  ) AS first (due_at)
  CROSS JOIN LATERAL (SELECT first.due_at, coalesce(first.due_at <= now(), false)) AS n (due_at, has_due)
  WHERE st.subscription_id = c.subscription_id`;
