import type { DeliveryStatus, WaitReason } from '../../generated/prisma/enums.ts';
import { idRange, uuid7Floor, uuid7Time } from '../../lib/uuid7.ts';
import type { Queryable } from '../../postgres/client.ts';
import { scheduleSweep } from './state.ts';

export type NewDelivery = {
  readonly id: string;
  readonly tenant: string;
  readonly subscriptionId: string;
  /** The event's row. */
  readonly eventRowId: string;
  readonly eventType: string;
  /** Whether its first message is left to the sweeper in any case, which releases as many as senders have room for. */
  readonly isQueued?: boolean;
};

/**
 * Inserts deliveries and returns the ids of those whose first message is to be published now. The others wait in
 * Postgres: those that are queued, and those of a subscription that has a backlog; a test waits for no other. No state is
 * locked for the latter: the sweeper looks again some time after a backlog seems to be gone.
 */
export async function insertDeliveries(
  db: Queryable,
  { deliveries, isTest }: { readonly deliveries: readonly NewDelivery[]; readonly isTest: boolean },
): Promise<Set<string>> {
  const { rows } = await db.query<{ id: string; isEnqueued: boolean }>(INSERT, [
    deliveries.map((delivery) => delivery.id),
    deliveries.map((delivery) => delivery.tenant),
    deliveries.map((delivery) => delivery.subscriptionId),
    deliveries.map((delivery) => delivery.eventRowId),
    deliveries.map((delivery) => delivery.eventType),
    isTest,
    deliveries.map((delivery) => delivery.isQueued ?? false),
  ]);
  const queued = deliveries.filter(({ isQueued }) => isQueued);
  if (queued.length > 0) await db.query(BEGIN_BACKLOG, [queued.map(({ subscriptionId }) => subscriptionId)]);
  return new Set(rows.filter(({ isEnqueued }) => isEnqueued).map(({ id }) => id));
}

const INSERT = `
  INSERT INTO deliveries
    (id, tenant, subscription_id, event_id, event_type, next_attempt_at, enqueued_at, enqueue_count, waiting_for,
     is_test)
  SELECT n.id, n.tenant, n.subscription_id, n.event_id, n.event_type, now(),
    CASE WHEN waits THEN NULL ELSE now() END, CASE WHEN waits THEN 0 ELSE 1 END,
    CASE WHEN waits THEN (CASE WHEN st.opened_at IS NULL THEN 'IN_FLIGHT_LIMIT' ELSE 'CIRCUIT_OPEN' END)::wait_reason END,
    $6::boolean
  FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $7::boolean[])
    AS n (id, tenant, subscription_id, event_id, event_type, is_queued)
  LEFT JOIN subscription_states st ON st.subscription_id = n.subscription_id
  CROSS JOIN LATERAL (
    SELECT n.is_queued OR coalesce(st.is_backlogged, false) AND NOT $6::boolean
  ) AS w (waits)
  ON CONFLICT DO NOTHING
  RETURNING id, enqueued_at IS NOT NULL AS "isEnqueued"`;

/** In the order in which everybody locks states (see delivery/queue/state.ts); in the same transaction, so that no sweep misses them. */
const BEGIN_BACKLOG = `
  WITH begun AS (
    SELECT subscription_id FROM subscription_states WHERE subscription_id = ANY ($1::uuid[]) AND NOT is_backlogged
    ORDER BY subscription_id FOR UPDATE
  )
  UPDATE subscription_states st SET is_backlogged = true, next_sweep_at = least(st.next_sweep_at, now())
  FROM begun WHERE st.subscription_id = begun.subscription_id`;

/** Marks deliveries as enqueued once more, and returns what their messages need. */
export async function markPublished(
  db: Queryable,
  { ids, maxDataBytes }: { readonly ids: readonly string[]; readonly maxDataBytes: number },
): Promise<DeliveryForPublishing[]> {
  const { rows } = await db.query<DeliveryForPublishing>(
    `UPDATE deliveries d SET enqueued_at = now(), enqueue_count = d.enqueue_count + 1, waiting_for = NULL
     FROM unnest($1::uuid[]) AS due (id), events e, webhook_subscriptions s
     WHERE d.id = due.id AND d.id BETWEEN $3::uuid AND $4::uuid AND e.id = d.event_id AND s.id = d.subscription_id
     RETURNING ${pendingDeliveryColumns('$2')}`,
    [ids, maxDataBytes, ...idRange(ids)],
  );
  return rows;
}

export type LeaseRequest = {
  readonly deliveryId: string;
  /** The one of the message at hand: an older message of the delivery gets no lease. */
  readonly enqueueCount: number;
  readonly leaseMs: number;
};

export type Lease =
  /** The caller may make attempt number `attemptCount + 1`. */
  | { readonly kind: 'leased'; readonly attemptCount: number }
  /** Not before so many milliseconds: it is not due, or somebody else is making an attempt. */
  | { readonly kind: 'not yet'; readonly waitMs: number }
  /** It has ended, does not exist, or has a newer message. */
  | { readonly kind: 'over' };

/** How much longer than an attempt its lease lasts: time to record it. After a crash, others wait for so long. */
export const LEASE_MARGIN_MS = 10_000;
/** How much earlier than its due time a delivery may be attempted: clocks differ between machines. */
const EARLY_MS = 1_000;

/** Takes each delivery for `leaseMs`, if it is due and nobody else has it. Returns what is not over, by delivery id. */
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

// What another process leased while this statement waited for it shows as free: then it is asked for again at once.
const LEASE = `
  WITH request AS (
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::integer[]) AS r (id, enqueue_count, lease_ms)
  ), leased AS (
    UPDATE deliveries d SET leased_until = now() + r.lease_ms * interval '1 ms'
    FROM request r
    WHERE d.id = r.id AND d.id BETWEEN $5::uuid AND $6::uuid AND d.enqueue_count = r.enqueue_count
      AND d.status = 'PENDING' AND (d.leased_until IS NULL OR d.leased_until <= now())
      AND d.next_attempt_at <= now() + $4 * interval '1 ms'
    RETURNING d.id, d.attempt_count
  )
  SELECT d.id, leased.attempt_count AS "attemptCount",
    greatest(1, extract(epoch FROM greatest(d.leased_until, d.next_attempt_at) - now()) * 1000)::float8 AS "waitMs"
  FROM request r
  JOIN deliveries d ON d.id = r.id AND d.id BETWEEN $5::uuid AND $6::uuid
  LEFT JOIN leased ON leased.id = d.id
  WHERE d.status = 'PENDING' AND d.enqueue_count = r.enqueue_count`;

/**
 * Keeps deliveries whose attempts were made and could not be recorded yet for `leaseMs` from now: nobody else attempts
 * them meanwhile. Rows that are locked are left out: nobody else gets those either.
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
  WITH held AS (
    SELECT d.id FROM unnest($1::uuid[], $2::integer[]) AS a (id, number)
    JOIN deliveries d ON d.id = a.id AND d.id BETWEEN $4::uuid AND $5::uuid
    WHERE d.status = 'PENDING' AND d.attempt_count < a.number
    FOR NO KEY UPDATE OF d SKIP LOCKED
  )
  UPDATE deliveries SET leased_until = greatest(leased_until, now() + $3::integer * interval '1 ms')
  WHERE id = ANY (ARRAY(SELECT id FROM held)) AND id BETWEEN $4::uuid AND $5::uuid`;

export type LimitedDelivery = {
  readonly deliveryId: string;
  /** The one of the message that is given up for this: if there is a newer one, nothing changes. */
  readonly enqueueCount: number;
  readonly reason: WaitReason;
};

/**
 * Deliveries whose subscription has no room for them wait in Postgres for their turn, and new ones queue up behind
 * them. That there was no room shows that the sweeper released too much at a time, so it releases half as much.
 */
export async function requeueAtLimit(db: Queryable, parkings: readonly LimitedDelivery[]): Promise<void> {
  await db.query(PARK, [
    parkings.map(({ deliveryId }) => deliveryId),
    parkings.map(({ enqueueCount }) => enqueueCount),
    parkings.map(({ reason }) => reason),
    ...idRange(parkings.map(({ deliveryId }) => deliveryId)),
  ]);
}

/**
 * Half of no window yet is one as well: who has just been given more than it could take begins anew, slowly. Else an
 * endpoint that hangs would get as much at its first window, and again at the next, and fill the senders with it.
 */
const HALF_WINDOW = 'publish_window = greatest(1, st.publish_window / 2)';

const PARK = `
  WITH parked AS (
    UPDATE deliveries d SET enqueued_at = NULL, waiting_for = p.reason
    FROM unnest($1::uuid[], $2::integer[], $3::wait_reason[]) AS p (id, enqueue_count, reason)
    WHERE d.id = p.id AND d.id BETWEEN $4::uuid AND $5::uuid AND d.enqueue_count = p.enqueue_count
      AND d.status = 'PENDING'
    RETURNING d.subscription_id, d.next_attempt_at
  )${scheduleSweep('parked', ['is_backlogged = true', HALF_WINDOW])}`;

/**
 * Deliveries that turned out to have no message wait in Postgres again, until their next attempt is due. `wereRefused`:
 * because NATS did not take it, which their subscriptions remember. With `heldBackMs`, a message may nevertheless be stored, and
 * lead to a first attempt that takes no lease: nobody else gets a lease for so many milliseconds and the time limit of an attempt.
 */
export async function requeueDeliveries(
  db: Queryable,
  deliveryIds: readonly string[],
  { wereRefused = false, heldBackMs }: { readonly wereRefused?: boolean; readonly heldBackMs?: number } = {},
): Promise<void> {
  await db.query(
    `WITH returned AS (
       UPDATE deliveries d SET enqueued_at = NULL, leased_until =
         CASE WHEN $4::integer IS NULL OR d.attempt_count > 0 THEN d.leased_until
           ELSE greatest(d.leased_until, now() + (s.timeout_ms + $4) * interval '1 ms') END
       FROM webhook_subscriptions s
       WHERE d.id = ANY ($1::uuid[]) AND d.id BETWEEN $2::uuid AND $3::uuid AND d.status = 'PENDING'
         AND s.id = d.subscription_id
       RETURNING d.subscription_id, d.next_attempt_at
     )${scheduleSweep('returned', wereRefused ? ['refused_at = now()'] : [])}`,
    [deliveryIds, ...idRange(deliveryIds), heldBackMs ?? null],
  );
}

/**
 * Up to `limit` deliveries wait in Postgres again that were enqueued `slackMs` before the `oldest` message that is alive,
 * and that long ago. Returns how many there were.
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
     ), returned AS (
       UPDATE deliveries SET enqueued_at = NULL WHERE id = ANY (ARRAY(SELECT id FROM lost))
       RETURNING subscription_id, next_attempt_at
     )${scheduleSweep('returned')} RETURNING (SELECT count(*) FROM returned)::integer AS count`,
    [oldest ?? null, limit, slackMs],
  );
  return rows[0]?.count ?? 0;
}

/** Deliveries that cannot be attempted now wait in Postgres for so long, their attempts uncounted. */
export async function requeueLater(
  db: Queryable,
  { deliveryIds, waitMs }: { deliveryIds: readonly string[]; waitMs: number },
): Promise<void> {
  await db.query(
    `WITH postponed AS (
       UPDATE deliveries SET next_attempt_at = now() + $2 * interval '1 ms', enqueued_at = NULL, leased_until = NULL
       WHERE id = ANY ($1::uuid[]) AND id BETWEEN $3::uuid AND $4::uuid AND status = 'PENDING'
       RETURNING subscription_id, next_attempt_at
     )${scheduleSweep('postponed')}`,
    [deliveryIds, waitMs, ...idRange(deliveryIds)],
  );
}

/**
 * Makes a delivery that has failed, or waits, due now, and marks it as enqueued: an older message of it is dropped when
 * it comes. Returns what its message needs; undefined, and nothing is changed, if its event is gone. The event is held,
 * so that it does not go before the delivery that needs it is seen to be pending.
 */
export async function republishDelivery(
  db: Queryable,
  { id, maxDataBytes }: { readonly id: string; readonly maxDataBytes: number },
): Promise<DeliveryForPublishing | undefined> {
  const { rows } = await db.query<DeliveryForPublishing>(
    `WITH e AS (
       SELECT * FROM events WHERE id = (SELECT event_id FROM deliveries WHERE id = $1) FOR KEY SHARE
     )
     UPDATE deliveries d SET status = 'PENDING', completed_at = NULL, next_attempt_at = now(), waiting_for = NULL,
       enqueued_at = now(), enqueue_count = d.enqueue_count + 1, leased_until = NULL
     FROM e, webhook_subscriptions s
     WHERE d.id = $1 AND s.id = d.subscription_id
     RETURNING ${pendingDeliveryColumns('$2')}`,
    [id, maxDataBytes],
  );
  return rows[0];
}

type LockedDelivery = {
  readonly status: DeliveryStatus;
  /** Of its subscription; false once that is inactive or deleted. */
  readonly isActive: boolean;
  /** An attempt is being made, or a message that will lead to one in a moment is with JetStream or a sender. */
  readonly isUnderWay: boolean;
};

/** Holds a delivery, of this tenant if one is given, until the transaction ends; undefined if there is none. */
export async function lockDelivery(
  db: Queryable,
  { id, tenant }: { readonly id: string; readonly tenant: string | undefined },
): Promise<LockedDelivery | undefined> {
  const { rows } = await db.query<LockedDelivery>(LOCK, [id, tenant ?? null]);
  return rows[0];
}

// Not now(): who waited here for somebody else's change began before it, and would take its times for the future. The
// second is for clocks that differ: so much before its time, a delivery may already be leased (see lease-deliveries).
const LOCK = `
  SELECT d.status, s.is_active AND s.deleted_at IS NULL AS "isActive",
    coalesce(d.enqueued_at IS NOT NULL AND d.next_attempt_at <= clock_timestamp() + interval '1 s', false)
      OR coalesce(d.leased_until > clock_timestamp(), false) AS "isUnderWay"
  FROM deliveries d JOIN webhook_subscriptions s ON s.id = d.subscription_id
  WHERE d.id = $1 AND ($2::text IS NULL OR d.tenant = $2)
  FOR NO KEY UPDATE OF d`;

/** A pending delivery with what its message needs. */
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
  /** Null if it is larger than the limit asked for. */
  readonly data: Buffer | null;
};

/** The columns of a PendingDelivery, of deliveries d, events e and webhook_subscriptions s; `limit` is a parameter. */
function pendingDeliveryColumns(limit: string): string {
  return `d.id AS "deliveryId", d.tenant, d.subscription_id AS "subscriptionId", s.version AS "subscriptionVersion",
    e.event_id AS "eventId", e.type AS "eventType", e.occurred_at AS "occurredAt", d.enqueue_count AS "enqueueCount",
    d.is_test AS "isTest",
    CASE WHEN octet_length(e.data) <= ${limit} THEN e.data END AS data`;
}

/**
 * The deliveries of these events (rows) whose first message may not have been published. Their ids carry the time of
 * their event's: the bounds are for Postgres to leave out the other partitions.
 */
export async function unattemptedDeliveries(
  db: Queryable,
  { eventRowIds, maxDataBytes }: { eventRowIds: readonly string[]; maxDataBytes: number },
): Promise<DeliveryForPublishing[]> {
  const [least, greatest] = idRange(eventRowIds);
  const { rows } = await db.query<DeliveryForPublishing>(
    `SELECT ${pendingDeliveryColumns('$2')}
     FROM deliveries d JOIN events e ON e.id = d.event_id JOIN webhook_subscriptions s ON s.id = d.subscription_id
     WHERE d.event_id = ANY ($1::uuid[]) AND d.status = 'PENDING' AND d.attempt_count = 0
       AND d.enqueue_count = 1 AND d.enqueued_at IS NOT NULL
       AND e.id BETWEEN $3 AND $4 AND d.id >= $5 AND d.id < $6`,
    [eventRowIds, maxDataBytes, least, greatest, uuid7Floor(uuid7Time(least)), uuid7Floor(uuid7Time(greatest) + 1)],
  );
  return rows;
}
