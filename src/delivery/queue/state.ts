import type { Queryable } from '../../postgres/client.ts';

/*
 * The SQL on subscription_states, which has one row for each webhook subscription: the trigger webhook_subscription_created
 * inserts it (prisma/migrations/0001_initial/migration.sql). Rows are locked in the order that store.ts states.
 */

/** A subscription that is due for a sweep. */
export type DueQueue = {
  readonly subscriptionId: string;
  readonly tenant: string;
  /** False if the subscription is inactive or deleted. */
  readonly isActive: boolean;
  readonly maxInFlight: number;
  readonly rateLimitPerSecond: number | null;
  readonly isBacklogged: boolean;
  readonly publishWindow: number | null;
  /** Published deliveries that are due; counted only during a backlog, up to 2,000. */
  readonly liveCount: number;
  /**
   * The part of `liveCount` whose attempt is still expected. The others are held by a killed or stalled sender until
   * their ack wait ends.
   */
  readonly expectedCount: number;
  /** The next probe of an open circuit; null if the circuit is closed. */
  readonly probe: { readonly inMs: number; readonly waitMs: number } | null;
  /** Milliseconds until the first send time that is not reserved; 0 without a rate limit. */
  readonly nextSendInMs: number;
  /** Milliseconds until the end of a pause, negative once it is over; null if it is not paused. */
  readonly pausedForMs: number | null;
};

/** Milliseconds until the next sweep of any subscription, at most 0 if one is due or locked; infinity if none is planned. */
export async function nextSweepInMs(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ inMs: number | null }>(
    'SELECT (extract(epoch FROM min(next_sweep_at) - now()) * 1000)::float8 AS "inMs" FROM subscription_states',
    [],
  );
  return rows[0]?.inMs ?? Number.POSITIVE_INFINITY;
}

/**
 * Milliseconds after publication, in addition to the attempt timeout, within which an attempt is expected. Senders
 * queue a delivery for 1 s, or for up to 5 s while attempts of its subscription complete
 * (sending/subscription-limiter.ts).
 */
const QUEUEING_MS = 3_000;
/** Maximum due subscriptions that one sweep ranks by tenant, the longest due first. Bounds the cost of the statement. */
const MAX_CANDIDATES = 5_000;
/** Multiple of `limit` that is selected, because other processes may have locked some rows. */
const SELECTION_FACTOR = 4;

/**
 * Locks up to `limit` subscriptions that are due for a sweep until the transaction ends: the longest due one of each
 * tenant first, then the second of each, and so on. Skips rows that another process has locked.
 */
export async function lockDueQueues(db: Queryable, limit: number): Promise<DueQueue[]> {
  const selected = limit * SELECTION_FACTOR;
  const { rows } = await db.query<DueQueue>(LOCK_DUE_QUEUES, [limit, QUEUEING_MS, MAX_CANDIDATES, selected]);
  return rows;
}

const LOCK_DUE_QUEUES = `
  WITH candidate AS (
    SELECT st.subscription_id, st.next_sweep_at,
      row_number() OVER (PARTITION BY s.tenant ORDER BY st.next_sweep_at) AS rank
    FROM (
      SELECT subscription_id, next_sweep_at FROM subscription_states WHERE next_sweep_at <= now() ORDER BY next_sweep_at LIMIT $3
    ) AS st
    JOIN webhook_subscriptions s ON s.id = st.subscription_id
  ), selection AS (
    SELECT subscription_id, rank FROM candidate ORDER BY rank, next_sweep_at LIMIT $4
  )
  SELECT st.subscription_id AS "subscriptionId", s.tenant, s.is_active AND s.deleted_at IS NULL AS "isActive",
    s.max_in_flight AS "maxInFlight", s.rate_limit_per_second AS "rateLimitPerSecond",
    st.is_backlogged AS "isBacklogged", st.publish_window AS "publishWindow",
    coalesce(live.count, 0)::integer AS "liveCount", coalesce(live.expected, 0)::integer AS "expectedCount",
    CASE WHEN st.opened_at IS NOT NULL THEN json_build_object(
      'inMs', extract(epoch FROM st.probe_at - now()) * 1000, 'waitMs', st.probe_wait_ms
    ) END AS probe,
    greatest(0, coalesce(extract(epoch FROM st.next_send_at - now()) * 1000, 0))::float8 AS "nextSendInMs",
    (extract(epoch FROM st.paused_until - now()) * 1000)::float8 AS "pausedForMs"
  FROM selection JOIN subscription_states st USING (subscription_id)
  JOIN webhook_subscriptions s ON s.id = st.subscription_id
  LEFT JOIN LATERAL (
    SELECT count(*), count(*) FILTER (
      WHERE greatest(d.enqueued_at, d.next_attempt_at) > now() - (s.timeout_ms + $2) * interval '1 ms'
    ) AS expected
    FROM (
      -- A condition of the join would be evaluated after the count.
      SELECT enqueued_at, next_attempt_at FROM deliveries WHERE st.is_backlogged AND subscription_id = st.subscription_id
        AND status = 'PENDING' AND enqueued_at IS NOT NULL AND next_attempt_at <= now() LIMIT 2000
    ) AS d
  ) AS live ON true
  WHERE st.next_sweep_at <= now()
  ORDER BY selection.rank, st.next_sweep_at LIMIT $1 FOR UPDATE OF st SKIP LOCKED`;

type DueDelivery = { readonly id: string; readonly subscriptionId: string };

/** Locks up to `count` due queued deliveries of each subscription, the longest due first. Skips locked rows. */
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

/** The changes that a sweep makes to a subscription's state. */
export type QueueChange = {
  readonly subscriptionId: string;
  /** Milliseconds to the next sweep if due deliveries are left or `mustRecheck` is set. */
  readonly recheckMs: number;
  readonly mustRecheck: boolean;
  readonly publishWindow: number | null;
  /** Milliseconds until the first send time that is not reserved; null: unchanged. */
  readonly nextSendInMs: number | null;
  /** The next probe, and its wait without jitter, in milliseconds; null: unchanged. */
  readonly nextProbe: { readonly inMs: number; readonly waitMs: number } | null;
};

/**
 * After a backlog drains, the subscription is swept again with doubling intervals for this long: a transaction that read
 * is_backlogged before may still commit a queued delivery. By then it has ended (idle_in_transaction_session_timeout).
 */
const LATE_INSERT_MS = 60_000;
const FIRST_LATE_CHECK_MS = 100;

/** Saves the changes and the next sweep of subscriptions whose states this transaction has locked. */
export async function saveQueues(db: Queryable, changes: readonly QueueChange[]): Promise<void> {
  await db.query(SAVE_QUEUES, [
    changes.map(({ subscriptionId }) => subscriptionId),
    changes.map(({ recheckMs }) => recheckMs),
    changes.map(({ publishWindow }) => publishWindow),
    changes.map(({ nextSendInMs }) => nextSendInMs),
    changes.map(({ nextProbe }) => nextProbe?.inMs ?? null),
    changes.map(({ nextProbe }) => nextProbe?.waitMs ?? null),
    changes.map(({ mustRecheck }) => mustRecheck),
    LATE_INSERT_MS,
    FIRST_LATE_CHECK_MS,
  ]);
}

// OFFSET 0 prevents Postgres from inlining the sub-select, which searches every partition, at each use of its result.
const SAVE_QUEUES = `
  UPDATE subscription_states st SET
    next_sweep_at = CASE WHEN plan.has_more OR change.must_recheck
        THEN least(now() + change.recheck_ms * interval '1 ms', plan.probe_due_at)
      ELSE least(plan.due_at, late_check.check_at) END,
    late_insert_check_until = plan.late_insert_check_until,
    is_backlogged = plan.has_more,
    publish_window = CASE WHEN plan.has_more THEN change.publish_window END,
    next_send_at = coalesce(now() + change.next_send_in_ms * interval '1 ms', st.next_send_at),
    probe_at = coalesce(now() + change.next_probe_in_ms * interval '1 ms', st.probe_at),
    probe_wait_ms = coalesce(change.probe_wait_ms, st.probe_wait_ms),
    -- NATS may also refuse the deliveries that this sweep releases.
    refused_at = CASE WHEN st.refused_at > now() - interval '10 seconds' THEN st.refused_at END
  FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::float8[], $5::integer[], $6::integer[], $7::boolean[])
    AS change (subscription_id, recheck_ms, publish_window, next_send_in_ms, next_probe_in_ms, probe_wait_ms, must_recheck)
  JOIN subscription_states old ON old.subscription_id = change.subscription_id
  CROSS JOIN LATERAL (
    SELECT (
      SELECT d.next_attempt_at FROM deliveries d
      WHERE d.subscription_id = change.subscription_id AND d.status = 'PENDING' AND d.enqueued_at IS NULL
      ORDER BY d.next_attempt_at LIMIT 1
    )
    OFFSET 0
  ) AS head (due_at)
  CROSS JOIN LATERAL (
    SELECT coalesce(head.due_at <= now(), false) OR old.opened_at IS NOT NULL OR coalesce(old.paused_until > now(), false)
  ) AS backlog (has_more)
  CROSS JOIN LATERAL (
    SELECT head.due_at, backlog.has_more,
      -- The probe of an open circuit is due, and this sweep found no delivery for it.
      CASE WHEN old.probe_at <= now() AND change.next_probe_in_ms IS NULL AND coalesce(old.paused_until <= now(), true)
        THEN head.due_at END AS probe_due_at,
      CASE WHEN old.is_backlogged AND NOT backlog.has_more THEN now() + $8 * interval '1 ms'
        WHEN old.late_insert_check_until > now() THEN old.late_insert_check_until END
  ) AS plan (due_at, has_more, probe_due_at, late_insert_check_until)
  CROSS JOIN LATERAL (
    SELECT CASE WHEN plan.late_insert_check_until IS NOT NULL THEN least(plan.late_insert_check_until, now() + greatest(
      $9 * interval '1 ms', $8 * interval '1 ms' - (plan.late_insert_check_until - now())
    )) END
  ) AS late_check (check_at)
  WHERE st.subscription_id = change.subscription_id`;

/**
 * The end of a statement that queues deliveries: brings the next sweep of their subscriptions forward. `rows` is the name
 * of a CTE with subscription_id and next_attempt_at; `alsoSet` are further assignments. The states are locked even if
 * nothing changes: the sweeper locks them too, so it has either seen these deliveries or finds next_sweep_at set here.
 */
export function scheduleSweep(rows: string, alsoSet: readonly string[] = []): string {
  return `, queue AS (
    SELECT subscription_id, min(next_attempt_at) AS due_at FROM ${rows} GROUP BY 1
  ), locked_state AS (
    SELECT subscription_id, queue.due_at FROM subscription_states st JOIN queue USING (subscription_id)
    ORDER BY subscription_id FOR UPDATE OF st
  )
  UPDATE subscription_states st
  SET ${['next_sweep_at = least(st.next_sweep_at, locked_state.due_at)', ...alsoSet].join(', ')}
  FROM locked_state WHERE st.subscription_id = locked_state.subscription_id`;
}

/**
 * Closes a subscription's circuit and resets its failure record: earlier attempts no longer count. If the circuit was open,
 * the publish window starts at 1 and grows. Senders are notified on the channel of the trigger
 * webhook_subscription_changed, so that they read the subscription again.
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

/**
 * Pauses a subscription: its deliveries stay queued until `until`, except retries by users. A pause replaces the one before.
 * Notifies senders as closeCircuit does.
 */
export async function pauseQueue(
  db: Queryable,
  { subscriptionId, until }: { readonly subscriptionId: string; readonly until: Date },
): Promise<void> {
  await db.query(
    `UPDATE subscription_states SET paused_until = $2, is_backlogged = true, next_sweep_at = now()
     WHERE subscription_id = $1
     RETURNING pg_notify('webhook_subscription_changed', subscription_id::text)::text`,
    [subscriptionId, until],
  );
}

/** Ends a pause: the sweeper releases the queued deliveries, beginning with the first window. Notifies senders. */
export async function resumeQueue(db: Queryable, subscriptionId: string): Promise<void> {
  await db.query(
    `UPDATE subscription_states SET paused_until = NULL, publish_window = NULL, next_sweep_at = now()
     WHERE subscription_id = $1 AND paused_until IS NOT NULL
     RETURNING pg_notify('webhook_subscription_changed', subscription_id::text)::text`,
    [subscriptionId],
  );
}
