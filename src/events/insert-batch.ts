import type { NewDelivery } from '../delivery/queue/store.ts';
import { recordChanges } from '../postgres/changes.ts';
import type { Queryable } from '../postgres/client.ts';
import type { EventRow } from './store.ts';

/** The versions that a batch was matched with (by tenant) and validated with (by event type); 0: none is known. */
export type KnownVersions = {
  readonly tenants: ReadonlyMap<string, number>;
  readonly eventTypes: ReadonlyMap<string, number>;
};

export type EventBatch = {
  readonly events: readonly EventRow[];
  /** In the order of the events. Deliveries of an event that was inserted before are not inserted. */
  readonly deliveries: readonly NewDelivery[];
  /** Undefined: changes of subscriptions and event types are not checked. */
  readonly known: KnownVersions | undefined;
  /** Whether these are test deliveries, which are not queued behind others. */
  readonly isTest?: boolean;
};

export type InsertedBatch = {
  /** Ids of the events that were inserted: their id, and their event id within the tenant, were new. */
  readonly newIds: ReadonlySet<string>;
  /** Ids of the deliveries whose first message the caller must publish; the others are queued. */
  readonly toPublish: ReadonlySet<string>;
};

/**
 * Inserts events and their deliveries in one statement, which is one round trip and one transaction. Inserts nothing and
 * returns undefined if a subscription or an event type has changed since the known versions.
 *
 * A delivery is queued if its input requires it or its subscription has a backlog; the first queued delivery begins a
 * backlog. The backlog flag is read without a lock: the sweeper checks for late inserts after a backlog has drained
 * (saveQueues). If the probe of an open circuit is due, and no delivery was, the first queued one is released at once.
 * The lock order is at the top of delivery/queue/store.ts.
 */
export async function insertBatch(db: Queryable, batch: EventBatch): Promise<InsertedBatch | undefined> {
  const { events, deliveries, known, isTest = false } = batch;
  const { rows } = await db.query<{ isCurrent: boolean; newIds: string[]; toPublish: string[] }>(INSERT_BATCH, [
    [...(known?.tenants.keys() ?? [])],
    [...(known?.tenants.values() ?? [])],
    [...(known?.eventTypes.keys() ?? [])],
    [...(known?.eventTypes.values() ?? [])],
    events.map((event) => event.id),
    events.map((event) => event.tenant),
    events.map((event) => event.eventId),
    events.map((event) => event.type),
    events.map((event) => event.occurredAt),
    events.map((event) => event.data),
    events.map((event) => event.matchedVersion ?? null),
    events.map((event) => event.filterBudgetExhaustedAt ?? null),
    events.map((event) => event.source ?? 'NATS'),
    deliveries.map((delivery) => delivery.id),
    deliveries.map((delivery) => delivery.tenant),
    deliveries.map((delivery) => delivery.subscriptionId),
    deliveries.map((delivery) => delivery.eventRowId),
    deliveries.map((delivery) => delivery.eventType),
    deliveries.map((delivery) => delivery.isQueued ?? false),
    isTest,
    events.map((event) => event.traceParent ?? null),
  ]);
  const [row] = rows;
  if (row?.isCurrent !== true) return undefined;
  return { newIds: new Set(row.newIds), toPublish: new Set(row.toPublish) };
}

// A CTE has no index, so joining with one would compare every pair of rows. IN … IS TRUE uses a hash table.
const INSERT_BATCH = `
  WITH settings AS (
    SELECT NOT EXISTS (
      SELECT FROM unnest($1::text[], $2::bigint[]) AS known (name, version)
      JOIN tenants t ON t.name = known.name WHERE t.version > known.version
    ) AND NOT EXISTS (
      SELECT FROM unnest($3::text[], $4::bigint[]) AS known (name, version)
      JOIN event_types t ON t.name = known.name WHERE t.version > known.version
    ) AS are_current
  ), event AS (
    SELECT * FROM unnest($5::uuid[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::bytea[], $11::bigint[],
      $12::uuid[], $13::event_source[], $21::text[]) WITH ORDINALITY
      AS i (id, tenant, event_id, type, occurred_at, data, matched_version, filter_budget_exhausted_at, source,
        trace_parent, place)
    WHERE (SELECT are_current FROM settings)
  ), new_id AS (
    INSERT INTO event_ids (tenant, event_id, event_row_id)
    -- In the same order in each transaction, because the second one to insert an id waits for the first. The first event
    -- of a batch with an id is kept.
    SELECT tenant, event_id, id FROM event WHERE event_id <> id::text ORDER BY tenant, event_id, place
    ON CONFLICT DO NOTHING
    RETURNING event_row_id
  ), new_event AS (
    INSERT INTO events
      (id, tenant, event_id, type, occurred_at, data, matched_version, filter_budget_exhausted_at, source, trace_parent)
    SELECT id, tenant, event_id, type, occurred_at, data, matched_version, filter_budget_exhausted_at, source, trace_parent
    FROM event WHERE event_id = id::text OR id IN (SELECT event_row_id FROM new_id) ORDER BY id
    ON CONFLICT DO NOTHING
    RETURNING id
  ), new_delivery AS (
    INSERT INTO deliveries
      (id, tenant, subscription_id, event_id, event_type, next_attempt_at, enqueued_at, enqueue_count, waiting_for,
       is_test)
    SELECT input.id, input.tenant, input.subscription_id, input.event_id, input.event_type, now(),
      CASE WHEN waits THEN NULL ELSE now() END, CASE WHEN waits THEN 0 ELSE 1 END,
      CASE WHEN waits THEN (
        CASE WHEN st.paused_until > now() THEN 'PAUSED' WHEN st.opened_at IS NULL THEN 'IN_FLIGHT_LIMIT' ELSE 'CIRCUIT_OPEN' END
      )::wait_reason END,
      $20::boolean
    FROM unnest($14::uuid[], $15::text[], $16::uuid[], $17::uuid[], $18::text[], $19::boolean[])
      AS input (id, tenant, subscription_id, event_id, event_type, is_queued)
    LEFT JOIN LATERAL (
      SELECT * FROM subscription_states WHERE subscription_id = input.subscription_id OFFSET 0
    ) AS st ON true
    CROSS JOIN LATERAL (
      SELECT input.is_queued OR coalesce(st.is_backlogged, false) AND NOT $20::boolean
    ) AS placement (waits)
    WHERE (input.event_id IN (SELECT id FROM new_event)) IS TRUE
    ON CONFLICT DO NOTHING
    RETURNING id, subscription_id, enqueued_at IS NOT NULL AS is_published
  ), ${recordChanges({ events: 'new_event', deliveries: 'new_delivery' })}, to_sweep AS (
    SELECT subscription_id FROM subscription_states
    WHERE subscription_id = ANY (ARRAY(SELECT subscription_id FROM new_delivery WHERE NOT is_published))
      AND (NOT is_backlogged OR opened_at IS NOT NULL AND probe_at <= now() AND next_sweep_at > now()
        AND coalesce(paused_until <= now(), true))
    ORDER BY subscription_id FOR UPDATE
  ), begun AS (
    UPDATE subscription_states st SET is_backlogged = true, next_sweep_at = least(st.next_sweep_at, now())
    FROM to_sweep WHERE st.subscription_id = to_sweep.subscription_id
  )
  SELECT are_current AS "isCurrent", ARRAY(SELECT id FROM new_event) AS "newIds",
    ARRAY(SELECT id FROM new_delivery WHERE is_published) AS "toPublish"
  FROM settings`;
