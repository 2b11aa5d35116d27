import type { DeliveryStatus, WaitReason } from '../../generated/prisma/enums.ts';
import { idRange, uuid7Floor, uuid7Time } from '../../lib/uuid7.ts';
import { recordChanges } from '../../postgres/changes.ts';
import type { Queryable } from '../../postgres/client.ts';
import { scheduleSweep } from './state.ts';

/*
 * The SQL that moves a pending delivery between its states:
 *
 *   queued      enqueued_at is null: it is stored in Postgres only; the sweeper publishes it once it is due.
 *   published   enqueued_at is set: the message with its current enqueue_count is in JetStream or with a sender.
 *   leased      leased_until is in the future: one process may attempt it, whether it is queued or published.
 *
 *   publish     insertBatch (events/insert-batch.ts), markPublished, republishDelivery
 *   lease       leaseDeliveries, extendLeases
 *   delay       delayPublished: stays published
 *   requeue     requeueDeliveries, requeueLost, requeueAtLimit, requeueLater
 *   finish      writeResults (delivery/sending/write-results.ts), markCancelled and cancelPending (cancel.ts)
 *
 * Lock order. Every transaction that waits for row locks takes them in this order:
 *
 *   1. webhook_subscriptions: one row (a change of its settings, a deactivation), and with it the tenant's row in tenants,
 *      which the trigger webhook_subscription_changed updates
 *   2. deliveries
 *   3. subscription_states, in ascending order of subscription_id
 *   4. notice_limits: one row (delivery/circuit/notices.ts), with the state of one subscription locked and no other
 *
 * The sweeper locks subscription_states before deliveries, and skips rows of both that are locked (SKIP LOCKED), so it
 * never waits for a transaction that waits for it. With a state locked, a transaction may insert deliveries: no other
 * transaction can have locked a new row.
 *
 * A statement that requeues a delivery also locks the state of its subscription and brings next_sweep_at forward
 * (scheduleSweep in state.ts). The row in subscription_states exists for every subscription: the trigger
 * webhook_subscription_created inserts it (prisma/migrations/0001_initial/migration.sql).
 */

export type NewDelivery = {
  readonly id: string;
  readonly tenant: string;
  readonly subscriptionId: string;
  /** events.id */
  readonly eventRowId: string;
  readonly eventType: string;
  /** Whether the sweeper publishes its first message even if the subscription has no backlog. */
  readonly isQueued?: boolean;
};

/**
 * SQL for the element of `values` at the position of `id` in `$1::uuid[]`. Statements select rows by `= ANY ($1)` and
 * find their values with this, not by a join with unnest(): in a generic plan, Postgres may reverse such a join and
 * read all rows between the smallest and the largest id (ADR 23).
 */
function valueOf(id: string, values: string): string {
  return `(${values})[array_position($1::uuid[], ${id})]`;
}

/** Marks queued deliveries as published and returns the contents of their messages, for the caller to publish. */
export async function markPublished(
  db: Queryable,
  { ids, maxDataBytes }: { readonly ids: readonly string[]; readonly maxDataBytes: number },
): Promise<DeliveryForPublishing[]> {
  const { rows } = await db.query<DeliveryForPublishing>(
    `WITH published AS (
       UPDATE deliveries SET enqueued_at = now(), enqueue_count = enqueue_count + 1, waiting_for = NULL
       WHERE id = ANY ($1::uuid[]) AND id BETWEEN $3::uuid AND $4::uuid
       RETURNING *
     )
     SELECT ${messageColumns('$2')} FROM published d ${EVENT_AND_SUBSCRIPTION}`,
    [ids, maxDataBytes, ...idRange(ids)],
  );
  return rows;
}

export type LeaseRequest = {
  readonly deliveryId: string;
  /** The message's count: only the delivery's latest message gets a lease. */
  readonly enqueueCount: number;
  readonly leaseMs: number;
};

export type Lease =
  /** The caller may make attempt number `attemptCount + 1`. */
  | { readonly kind: 'leased'; readonly attemptCount: number }
  /** Retry after `waitMs`: the delivery is not due, or another process has the lease. */
  | { readonly kind: 'not yet'; readonly waitMs: number }
  /** The delivery has ended, does not exist, or has a newer message. */
  | { readonly kind: 'over' };

/**
 * Milliseconds by which a lease outlasts its attempt: time to record the result. After a crash, the next attempt is
 * delayed by this much.
 */
export const LEASE_MARGIN_MS = 10_000;
/** Milliseconds before its due time at which a delivery may be leased: clocks differ between machines. */
const EARLY_MS = 1_000;

/**
 * Leases each delivery for `leaseMs` if it is due and no other process has a lease. Returns the leases by delivery id;
 * deliveries of kind 'over' are omitted.
 */
export async function leaseDeliveries(db: Queryable, requests: readonly LeaseRequest[]): Promise<Map<string, Lease>> {
  const { rows } = await db.query<{ id: string; attemptCount: number | null; waitMs: number | null }>(LEASE, [
    requests.map(({ deliveryId }) => deliveryId),
    requests.map(({ enqueueCount }) => enqueueCount),
    requests.map(({ leaseMs }) => leaseMs),
    EARLY_MS,
    ...idRange(requests.map(({ deliveryId }) => deliveryId)),
  ]);
  return new Map(
    rows.map(({ id, attemptCount, waitMs }) => [
      id,
      attemptCount === null ? { kind: 'not yet', waitMs: waitMs ?? 1 } : { kind: 'leased', attemptCount },
    ]),
  );
}

// If another process leases a delivery while this statement waits for the row, the old leased_until is returned here and
// waitMs is 1: the caller retries at once.
const LEASE = `
  WITH leased AS (
    UPDATE deliveries d SET leased_until = now() + ${valueOf('d.id', '$3::integer[]')} * interval '1 ms'
    WHERE d.id = ANY ($1::uuid[]) AND d.id BETWEEN $5::uuid AND $6::uuid
      AND d.enqueue_count = ${valueOf('d.id', '$2::integer[]')}
      AND d.status = 'PENDING' AND (d.leased_until IS NULL OR d.leased_until <= now())
      AND d.next_attempt_at <= now() + $4 * interval '1 ms'
    RETURNING d.id, d.attempt_count
  )
  SELECT id, attempt_count AS "attemptCount", NULL::float8 AS "waitMs" FROM leased
  UNION ALL
  SELECT d.id, NULL,
    greatest(1, extract(epoch FROM greatest(d.leased_until, d.next_attempt_at) - now()) * 1000)::float8
  FROM deliveries d
  WHERE d.id = ANY ($1::uuid[]) AND d.id BETWEEN $5::uuid AND $6::uuid
    AND d.enqueue_count = ${valueOf('d.id', '$2::integer[]')}
    AND d.status = 'PENDING' AND d.id NOT IN (SELECT id FROM leased)`;

/**
 * Extends to `leaseMs` from now the leases of deliveries whose attempts were made but are not recorded yet, so that no
 * other process attempts them. Locked rows are skipped: no other process can lease those either.
 */
export async function extendLeases(
  db: Queryable,
  {
    attempts,
    leaseMs,
  }: {
    readonly attempts: readonly { readonly deliveryId: string; readonly number: number }[];
    readonly leaseMs: number;
  },
): Promise<void> {
  const ids = attempts.map(({ deliveryId }) => deliveryId);
  await db.query(EXTEND, [ids, attempts.map(({ number }) => number), leaseMs, ...idRange(ids)]);
}

const EXTEND = `
  WITH unrecorded AS (
    SELECT d.id FROM deliveries d WHERE d.id = ANY ($1::uuid[]) AND d.id BETWEEN $4::uuid AND $5::uuid
      AND d.status = 'PENDING' AND d.attempt_count < ${valueOf('d.id', '$2::integer[]')}
    FOR NO KEY UPDATE SKIP LOCKED
  )
  UPDATE deliveries SET leased_until = greatest(leased_until, now() + $3::integer * interval '1 ms')
  WHERE id = ANY (ARRAY(SELECT id FROM unrecorded)) AND id BETWEEN $4::uuid AND $5::uuid`;

export type LimitedDelivery = {
  readonly deliveryId: string;
  /** The message's count: if the delivery has a newer message, it is not requeued. */
  readonly enqueueCount: number;
  readonly reason: WaitReason;
};

/**
 * Requeues deliveries that exceed a limit of their subscription, and marks the subscription as backlogged. The sweeper
 * released too many at a time, so its window is halved.
 */
export async function requeueAtLimit(db: Queryable, deliveries: readonly LimitedDelivery[]): Promise<void> {
  await db.query(REQUEUE_AT_LIMIT, [
    deliveries.map(({ deliveryId }) => deliveryId),
    deliveries.map(({ enqueueCount }) => enqueueCount),
    deliveries.map(({ reason }) => reason),
    ...idRange(deliveries.map(({ deliveryId }) => deliveryId)),
  ]);
}

/**
 * Without a window (null) the result is 1, because greatest() ignores nulls. Otherwise an endpoint that hangs would
 * repeatedly be given the large first window, and fill the senders.
 */
const HALF_WINDOW = 'publish_window = greatest(1, st.publish_window / 2)';

const REQUEUE_AT_LIMIT = `
  WITH requeued AS (
    UPDATE deliveries d SET enqueued_at = NULL, waiting_for = ${valueOf('d.id', '$3::wait_reason[]')}
    WHERE d.id = ANY ($1::uuid[]) AND d.id BETWEEN $4::uuid AND $5::uuid
      AND d.enqueue_count = ${valueOf('d.id', '$2::integer[]')} AND d.status = 'PENDING'
    RETURNING d.subscription_id, d.next_attempt_at
  )${scheduleSweep('requeued', ['is_backlogged = true', HALF_WINDOW])}`;

/**
 * Delays deliveries that exceed a limit of their subscription by `waitMs`, in which their messages stay in JetStream. Returns
 * the ids of those that are published and have no newer message. A redelivered message may belong to a delivery that has
 * failed since, and waits for a later attempt.
 */
export async function delayPublished(
  db: Queryable,
  { deliveries, waitMs }: { readonly deliveries: readonly LimitedDelivery[]; readonly waitMs: number },
): Promise<Set<string>> {
  const ids = deliveries.map(({ deliveryId }) => deliveryId);
  const counts = deliveries.map(({ enqueueCount }) => enqueueCount);
  const reasons = deliveries.map(({ reason }) => reason);
  const { rows } = await db.query<{ id: string }>(DELAY, [ids, counts, reasons, waitMs, ...idRange(ids)]);
  return new Set(rows.map(({ id }) => id));
}

const DELAY = `
  UPDATE deliveries d SET
    waiting_for = CASE WHEN d.next_attempt_at > now() + interval '1 s' THEN d.waiting_for
      ELSE ${valueOf('d.id', '$3::wait_reason[]')} END,
    next_attempt_at = greatest(d.next_attempt_at, now() + $4::integer * interval '1 ms')
  WHERE d.enqueued_at IS NOT NULL AND d.id = ANY ($1::uuid[]) AND d.id BETWEEN $5::uuid AND $6::uuid
    AND d.enqueue_count = ${valueOf('d.id', '$2::integer[]')} AND d.status = 'PENDING'
  RETURNING d.id`;

/**
 * SQL: whether a limit delays the attempt of delivery d (delayPublished). `waiting_for` is null once the delivery is published
 * again.
 */
export const IS_DELAYED = `d.enqueued_at IS NOT NULL AND d.waiting_for IN ('IN_FLIGHT_LIMIT', 'RATE_LIMITED')`;

/**
 * Requeues deliveries until their next attempt is due and no process has a lease. `wereRefused`: NATS did not accept the
 * message, which is recorded in the subscription's refused_at; it is published again even during a lease. `heldBackMs`:
 * JetStream may nevertheless have stored the message, which may lead to a first attempt without a lease. So no other process
 * gets a lease for the subscription's attempt timeout plus this many milliseconds.
 */
export async function requeueDeliveries(
  db: Queryable,
  deliveryIds: readonly string[],
  { wereRefused = false, heldBackMs }: { readonly wereRefused?: boolean; readonly heldBackMs?: number } = {},
): Promise<void> {
  await db.query(
    `WITH requeued AS (
       UPDATE deliveries d SET enqueued_at = NULL, leased_until =
         CASE WHEN $4::integer IS NULL OR d.attempt_count > 0 THEN d.leased_until
           ELSE greatest(d.leased_until, now() + $4 * interval '1 ms' + (
             SELECT s.timeout_ms * interval '1 ms' FROM webhook_subscriptions s WHERE s.id = d.subscription_id
           )) END,
         next_attempt_at = CASE WHEN $5 THEN d.next_attempt_at ELSE greatest(d.next_attempt_at, d.leased_until) END
       WHERE d.id = ANY ($1::uuid[]) AND d.id BETWEEN $2::uuid AND $3::uuid AND d.status = 'PENDING'
       RETURNING d.subscription_id, d.next_attempt_at
     )${scheduleSweep('requeued', wereRefused ? ['refused_at = now()'] : [])}`,
    [deliveryIds, ...idRange(deliveryIds), heldBackMs ?? null, wereRefused],
  );
}

/**
 * Requeues up to `limit` deliveries whose message JetStream has lost: those published more than `slackMs` before the
 * `oldest` message in the stream, and more than `slackMs` ago. Returns their number.
 */
export async function requeueLost(
  db: Queryable,
  { oldest, slackMs, limit }: { readonly oldest: Date | undefined; readonly slackMs: number; readonly limit: number },
): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `WITH lost AS (
       SELECT id FROM deliveries WHERE status = 'PENDING' AND enqueued_at < least($1::timestamptz, now()) - $3::integer * interval '1 ms'
         AND (leased_until IS NULL OR leased_until < now())
       LIMIT $2 FOR UPDATE SKIP LOCKED
     ), requeued AS (
       UPDATE deliveries SET enqueued_at = NULL WHERE id = ANY (ARRAY(SELECT id FROM lost))
       RETURNING subscription_id, next_attempt_at
     )${scheduleSweep('requeued')} RETURNING (SELECT count(*) FROM requeued)::integer AS count`,
    [oldest ?? null, limit, slackMs],
  );
  return rows[0]?.count ?? 0;
}

/** Requeues deliveries with a next attempt in `waitMs`, without counting an attempt. */
export async function requeueLater(
  db: Queryable,
  { deliveryIds, waitMs }: { deliveryIds: readonly string[]; waitMs: number },
): Promise<void> {
  await db.query(
    `WITH requeued AS (
       UPDATE deliveries SET next_attempt_at = now() + $2 * interval '1 ms', enqueued_at = NULL, leased_until = NULL
       WHERE id = ANY ($1::uuid[]) AND id BETWEEN $3::uuid AND $4::uuid AND status = 'PENDING'
       RETURNING subscription_id, next_attempt_at
     )${scheduleSweep('requeued')}`,
    [deliveryIds, waitMs, ...idRange(deliveryIds)],
  );
}

/**
 * Makes a failed or pending delivery due now and marks it as published; older messages of it are then ignored. Returns
 * the contents of its message. If the event no longer exists or was redacted, returns undefined and changes nothing. The
 * event is locked so that it is neither deleted nor redacted before the pending delivery is visible.
 */
export async function republishDelivery(
  db: Queryable,
  { id, maxDataBytes }: { readonly id: string; readonly maxDataBytes: number },
): Promise<DeliveryForPublishing | undefined> {
  const { rows } = await db.query<DeliveryForPublishing>(
    `WITH event AS (
       SELECT * FROM events WHERE id = (SELECT event_id FROM deliveries WHERE id = $1) AND redacted_at IS NULL FOR SHARE
     ), retried AS (SELECT $1::uuid AS id FROM event), ${recordChanges({ deliveries: 'retried' })}
     UPDATE deliveries d SET status = 'PENDING', completed_at = NULL, next_attempt_at = now(), waiting_for = NULL,
       enqueued_at = now(), enqueue_count = d.enqueue_count + 1, leased_until = NULL
     FROM event e, webhook_subscriptions s
     WHERE d.id = $1 AND s.id = d.subscription_id
     RETURNING ${messageColumns('$2')}`,
    [id, maxDataBytes],
  );
  return rows[0];
}

type LockedDelivery = {
  readonly status: DeliveryStatus;
  /** False if the subscription is inactive or deleted. */
  readonly isActive: boolean;
  /** Whether the delivery is leased, published and due, or delayed by a limit. */
  readonly isInFlight: boolean;
};

/** Locks a delivery, of `tenant` if one is given, until the transaction ends; undefined if it does not exist. */
export async function lockDelivery(
  db: Queryable,
  { id, tenant }: { readonly id: string; readonly tenant: string | undefined },
): Promise<LockedDelivery | undefined> {
  const { rows } = await db.query<LockedDelivery>(LOCK, [id, tenant ?? null]);
  return rows[0];
}

// clock_timestamp(), not now(): after waiting for another transaction's lock, times that it wrote would be in the
// future of this transaction's now(). A delivery may be leased EARLY_MS before it is due, so one second is added.
const LOCK = `
  SELECT d.status, s.is_active AND s.deleted_at IS NULL AS "isActive",
    coalesce(
      d.enqueued_at IS NOT NULL AND d.next_attempt_at <= clock_timestamp() + interval '1 s'
        OR d.leased_until > clock_timestamp() OR ${IS_DELAYED}, false
    ) AS "isInFlight"
  FROM deliveries d JOIN webhook_subscriptions s ON s.id = d.subscription_id
  WHERE d.id = $1 AND ($2::text IS NULL OR d.tenant = $2)
  FOR NO KEY UPDATE OF d`;

/** The contents of a pending delivery's message. */
export type DeliveryForPublishing = {
  readonly deliveryId: string;
  readonly tenant: string;
  readonly subscriptionId: string;
  readonly subscriptionVersion: string;
  readonly eventId: string;
  readonly eventType: string;
  readonly occurredAt: Date;
  readonly enqueueCount: number;
  readonly isTest: boolean;
  readonly traceParent: string | null;
  /** Null if it is larger than the caller's limit. */
  readonly data: Buffer | null;
};

/** Joins deliveries d with their events and subscriptions, looked up one by one (ADR 23). */
const EVENT_AND_SUBSCRIPTION = `
  CROSS JOIN LATERAL (SELECT * FROM events WHERE id = d.event_id OFFSET 0) AS e
  CROSS JOIN LATERAL (SELECT * FROM webhook_subscriptions WHERE id = d.subscription_id OFFSET 0) AS s`;

/**
 * The columns of a DeliveryForPublishing from deliveries d, events e and webhook_subscriptions s; `limit`: a
 * parameter's name.
 */
function messageColumns(limit: string): string {
  return `d.id AS "deliveryId", d.tenant, d.subscription_id AS "subscriptionId", s.version AS "subscriptionVersion",
    e.event_id AS "eventId", e.type AS "eventType", e.occurred_at AS "occurredAt", d.enqueue_count AS "enqueueCount",
    d.is_test AS "isTest", e.trace_parent AS "traceParent",
    CASE WHEN octet_length(e.data) <= ${limit} THEN e.data END AS data`;
}

/**
 * The deliveries of these events (events.id) whose first message may not have been published. A delivery's id has the
 * time of its event's id, so the bound lets Postgres prune partitions. The sub-select has no other condition, so that
 * Postgres searches by event.
 */
export async function unattemptedDeliveries(
  db: Queryable,
  { eventRowIds, maxDataBytes }: { eventRowIds: readonly string[]; maxDataBytes: number },
): Promise<DeliveryForPublishing[]> {
  const [least] = idRange(eventRowIds);
  const { rows } = await db.query<DeliveryForPublishing>(
    `SELECT ${messageColumns('$2')}
     FROM unnest($1::uuid[]) AS input (event_id)
     CROSS JOIN LATERAL (SELECT * FROM deliveries WHERE event_id = input.event_id AND id >= $3 OFFSET 0) AS d
     ${EVENT_AND_SUBSCRIPTION}
     WHERE d.status = 'PENDING' AND d.attempt_count = 0 AND d.enqueue_count = 1 AND d.enqueued_at IS NOT NULL`,
    [eventRowIds, maxDataBytes, uuid7Floor(uuid7Time(least))],
  );
  return rows;
}
