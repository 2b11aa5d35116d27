import type { Queryable } from '../../postgres/client.ts';

/** A subscription whose waiting deliveries have to be looked after now. */
export type DueQueue = {
  readonly subscriptionId: string;
  readonly tenant: string;
  /** False once it is inactive or deleted. */
  readonly isActive: boolean;
  readonly maxInFlight: number;
  readonly rateLimitPerSecond: number | null;
  readonly isBacklogged: boolean;
  readonly publishWindow: number | null;
  /** How many deliveries are with JetStream and the senders; counted only while there is a backlog, to 2,000 at most. */
  readonly liveCount: number;
  /**
   * Those of them whose attempt can still be expected. A sender that was killed, or stands still, keeps the others until
   * their ack wait is over.
   */
  readonly expectedCount: number;
  /** Of an open circuit, else null. */
  readonly probe: { readonly inMs: number; readonly waitMs: number } | null;
  /** With a rate limit: in how many milliseconds the first moment comes that no attempt has been given yet. */
  readonly nextSlotInMs: number;
};

/** An attempt begins so much later than it was published, or not soon: a sender keeps what has no room for a second. */
const QUEUEING_MS = 3_000;

/** Of the subscriptions that are due, so many are compared, the longest due first, */
const MAX_COMPARED = 5_000;
/** and so many times those wanted are chosen, because another process may hold some. */
const SPARE = 4;

/**
 * Locks up to `limit` subscriptions that are due to be looked after, until the transaction ends: the longest due one of each
 * tenant first, then the second of each, and so on. Any number of processes may do this at once; none gets one that another
 * one has.
 */
export async function lockDueQueues(db: Queryable, limit: number): Promise<DueQueue[]> {
  const { rows } = await db.query<DueQueue>(LOCK_DUE_QUEUES, [limit, QUEUEING_MS, MAX_COMPARED, limit * SPARE]);
  return rows;
}

const LOCK_DUE_QUEUES = `
  WITH compared AS (
    SELECT st.subscription_id, st.next_sweep_at,
      row_number() OVER (PARTITION BY s.tenant ORDER BY st.next_sweep_at) AS place
    FROM (
      SELECT subscription_id, next_sweep_at FROM subscription_states WHERE next_sweep_at <= now() ORDER BY next_sweep_at LIMIT $3
    ) AS st
    JOIN webhook_subscriptions s ON s.id = st.subscription_id
  ), chosen AS (
    SELECT subscription_id, place FROM compared ORDER BY place, next_sweep_at LIMIT $4
  )
  SELECT st.subscription_id AS "subscriptionId", s.tenant, s.is_active AND s.deleted_at IS NULL AS "isActive",
    s.max_in_flight AS "maxInFlight", s.rate_limit_per_second AS "rateLimitPerSecond",
    st.is_backlogged AS "isBacklogged", st.publish_window AS "publishWindow",
    coalesce(live.count, 0)::integer AS "liveCount", coalesce(live.expected, 0)::integer AS "expectedCount",
    CASE WHEN st.opened_at IS NOT NULL THEN json_build_object(
      'inMs', extract(epoch FROM st.probe_at - now()) * 1000, 'waitMs', st.probe_wait_ms
    ) END AS probe,
    greatest(0, coalesce(extract(epoch FROM st.next_slot_at - now()) * 1000, 0))::float8 AS "nextSlotInMs"
  FROM chosen JOIN subscription_states st USING (subscription_id)
  JOIN webhook_subscriptions s ON s.id = st.subscription_id
  LEFT JOIN LATERAL (
    SELECT count(*), count(*) FILTER (
      WHERE greatest(d.enqueued_at, d.next_attempt_at) > now() - (s.timeout_ms + $2) * interval '1 ms'
    ) AS expected
    FROM (
      SELECT enqueued_at, next_attempt_at FROM deliveries WHERE subscription_id = st.subscription_id
        AND status = 'PENDING' AND enqueued_at IS NOT NULL AND next_attempt_at <= now() LIMIT 2000
    ) AS d
  ) AS live ON st.is_backlogged
  WHERE st.next_sweep_at <= now()
  ORDER BY chosen.place, st.next_sweep_at LIMIT $1 FOR UPDATE OF st SKIP LOCKED`;

type DueDelivery = { readonly id: string; readonly subscriptionId: string };

/** Locks of each subscription up to so many deliveries that wait in Postgres and are due, the longest due first. */
export async function lockDueDeliveries(
  db: Queryable,
  limits: readonly { readonly subscriptionId: string; readonly count: number }[],
): Promise<DueDelivery[]> {
  const { rows } = await db.query<DueDelivery>(
    `SELECT due.id, queue.subscription_id AS "subscriptionId"
     FROM unnest($1::uuid[], $2::integer[]) AS queue (subscription_id, count)
     CROSS JOIN LATERAL (
       SELECT d.id FROM deliveries d
       WHERE d.subscription_id = queue.subscription_id AND d.status = 'PENDING' AND d.enqueued_at IS NULL
         AND d.next_attempt_at <= now()
       ORDER BY d.next_attempt_at LIMIT queue.count FOR UPDATE SKIP LOCKED
     ) AS due`,
    [limits.map(({ subscriptionId }) => subscriptionId), limits.map(({ count }) => count)],
  );
  return rows;
}

/** What looking after a subscription's waiting deliveries changed about it. */
export type QueueChange = {
  readonly subscriptionId: string;
  /** When to look again if something that is due was left, or in any case. */
  readonly recheckMs: number;
  readonly mustRecheck: boolean;
  readonly publishWindow: number | null;
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
  await db.query(SAVE_QUEUES, [
    changes.map(({ subscriptionId }) => subscriptionId),
    changes.map(({ recheckMs }) => recheckMs),
    changes.map(({ publishWindow }) => publishWindow),
    changes.map(({ nextSlotInMs }) => nextSlotInMs),
    changes.map(({ nextProbeInMs }) => nextProbeInMs),
    changes.map(({ mustRecheck }) => mustRecheck),
    STRAGGLER_MS,
    FIRST_LOOK_MS,
  ]);
}

// OFFSET 0: or the sub-select, which looks into every partition, is planned and run wherever its result is used.
const SAVE_QUEUES = `
  UPDATE subscription_states st SET
    next_sweep_at = CASE WHEN n.has_more OR c.must_recheck THEN now() + c.recheck_ms * interval '1 ms'
      ELSE least(n.due_at, look.look_at) END,
    late_insert_check_until = n.late_insert_check_until,
    is_backlogged = n.has_more,
    publish_window = CASE WHEN n.has_more THEN c.publish_window END,
    next_slot_at = coalesce(now() + c.next_slot_in_ms * interval '1 ms', st.next_slot_at),
    probe_at = coalesce(now() + c.next_probe_in_ms * interval '1 ms', st.probe_at),
    probe_wait_ms = coalesce(c.next_probe_in_ms, st.probe_wait_ms),
    -- What is released now may be refused as well.
    refused_at = CASE WHEN st.refused_at > now() - interval '10 seconds' THEN st.refused_at END
  FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::float8[], $5::integer[], $6::boolean[])
    AS c (subscription_id, recheck_ms, publish_window, next_slot_in_ms, next_probe_in_ms, must_recheck)
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
        WHEN old.late_insert_check_until > now() THEN old.late_insert_check_until END
  ) AS n (due_at, has_more, late_insert_check_until)
  CROSS JOIN LATERAL (
    SELECT CASE WHEN n.late_insert_check_until IS NOT NULL THEN least(n.late_insert_check_until, now() + greatest(
      $8 * interval '1 ms', $7 * interval '1 ms' - (n.late_insert_check_until - now())
    )) END
  ) AS look (look_at)
  WHERE st.subscription_id = c.subscription_id`;

/**
 * The end of a statement that makes deliveries wait in Postgres: brings forward when the sweeper looks after their
 * subscriptions. `rows` names a CTE with a subscription_id and a next_attempt_at. The states are locked, whatever they
 * say: the sweeper, which locks them too, has then either seen these deliveries or is told of them here. And they are
 * locked in one order, so that no two statements wait for each other. `alsoSet` are further assignments.
 */
export function scheduleSweep(rows: string, alsoSet: readonly string[] = []): string {
  return `, queue AS (
    SELECT subscription_id, min(next_attempt_at) AS due_at FROM ${rows} GROUP BY 1
  ), locked AS (
    SELECT subscription_id, queue.due_at FROM subscription_states st JOIN queue USING (subscription_id)
    ORDER BY subscription_id FOR UPDATE OF st
  )
  UPDATE subscription_states st SET ${['next_sweep_at = least(st.next_sweep_at, locked.due_at)', ...alsoSet].join(', ')}
  FROM locked WHERE st.subscription_id = locked.subscription_id`;
}

/**
 * Notes that a subscription's attempts succeed again, or starts it over: its circuit is closed, what waits is released
 * at a ramp, and what the log says of before is forgotten.
 */
export async function closeCircuit(db: Queryable, subscriptionId: string): Promise<void> {
  await db.query(
    `UPDATE subscription_states SET failing_since = NULL, notice_count = 0, noticed_at = NULL, closed_at = now(),
       opened_at = NULL, probe_at = NULL, probe_wait_ms = NULL, next_sweep_at = now(),
       publish_window = CASE WHEN opened_at IS NULL THEN publish_window ELSE 1 END
     WHERE subscription_id = $1
     RETURNING pg_notify('webhook_subscription_changed', subscription_id::text)::text`,
    [subscriptionId],
  );
}
