import type { Queryable } from '../../postgres/transaction.ts';

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
 * After a backlog is gone it is looked again and again, at intervals that double, until a transaction that inserted a
 * delivery behind it, unseen, must have ended. As a rule it has at the first look.
 */
const STRAGGLER_MS = 60_000;
const FIRST_LOOK_MS = 100;

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
    FIRST_LOOK_MS,
  ]);
}

// OFFSET 0: or the sub-select, which looks into every partition, is planned and run wherever its result is used.
const STATEMENT = `
  UPDATE subscription_states st SET
    next_due_at = CASE WHEN n.has_more OR c.must_recheck THEN now() + c.recheck_ms * interval '1 ms'
      ELSE least(n.due_at, look.look_at) END,
    straggler_check_at = n.straggler_check_at,
    is_backlogged = n.has_more,
    release_window = CASE WHEN n.has_more THEN c.release_window END,
    next_slot_at = coalesce(now() + c.next_slot_in_ms * interval '1 ms', st.next_slot_at),
    probe_at = coalesce(now() + c.next_probe_in_ms * interval '1 ms', st.probe_at),
    probe_wait_ms = coalesce(c.next_probe_in_ms, st.probe_wait_ms),
    -- What is released now may be refused as well.
    refused_at = CASE WHEN st.refused_at > now() - interval '10 seconds' THEN st.refused_at END
  FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::float8[], $5::integer[], $6::boolean[])
    AS c (subscription_id, recheck_ms, release_window, next_slot_in_ms, next_probe_in_ms, must_recheck)
  JOIN subscription_states old ON old.subscription_id = c.subscription_id
  CROSS JOIN LATERAL (
    SELECT (
      SELECT d.next_attempt_at FROM deliveries d
      WHERE d.subscription_id = c.subscription_id AND d.status = 'PENDING' AND d.enqueued_at IS NULL
      ORDER BY d.next_attempt_at LIMIT 1
    )
    OFFSET 0
  ) AS first (due_at)
  CROSS JOIN LATERAL (SELECT coalesce(first.due_at <= now(), false) OR old.opened_at IS NOT NULL) AS more (has_more)
  CROSS JOIN LATERAL (
    SELECT first.due_at, more.has_more,
      CASE WHEN old.is_backlogged AND NOT more.has_more THEN now() + $7 * interval '1 ms'
        WHEN old.straggler_check_at > now() THEN old.straggler_check_at END
  ) AS n (due_at, has_more, straggler_check_at)
  CROSS JOIN LATERAL (
    SELECT CASE WHEN n.straggler_check_at IS NOT NULL THEN least(n.straggler_check_at, now() + greatest(
      $8 * interval '1 ms', $7 * interval '1 ms' - (n.straggler_check_at - now())
    )) END
  ) AS look (look_at)
  WHERE st.subscription_id = c.subscription_id`;
