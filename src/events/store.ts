import type { EventSource } from '../generated/prisma/enums.ts';
import { idRange, isUuid } from '../lib/uuid7.ts';
import { recordChanges } from '../postgres/changes.ts';
import type { Queryable } from '../postgres/client.ts';

export type NewEvent = {
  readonly id: string;
  readonly tenant: string;
  /** The publisher's id; the same as `id` if the publisher gave none. */
  readonly eventId: string;
  readonly type: string;
  readonly occurredAt: Date;
  readonly data: Buffer;
  /** The position of its span in the trace of its publication; undefined without tracing. */
  readonly traceParent?: string | undefined;
  /** The interface by which it was published. Default: NATS. */
  readonly source?: EventSource;
};

export type EventRow = NewEvent & {
  /** The tenant's version that the event was matched at; absent if its subscriptions were given explicitly. */
  readonly matchedVersion?: number;
  /** Filters of subscriptions from this id on count as not matching. */
  readonly filterBudgetExhaustedAt?: string | undefined;
};

/** The row ids of those events that were written before, by the `id` of the argument. */
export async function knownEvents(
  db: Queryable,
  events: readonly Pick<NewEvent, 'id' | 'tenant' | 'eventId'>[],
): Promise<Map<string, string>> {
  if (events.length === 0) return new Map();
  const { rows } = await db.query<{ id: string; rowId: string }>(
    `SELECT i.id, coalesce(k.event_row_id, e.id) AS "rowId"
     FROM unnest($1::uuid[], $2::text[], $3::text[]) AS i (id, tenant, event_id)
     LEFT JOIN LATERAL (
       SELECT event_row_id FROM event_ids WHERE event_id = i.event_id AND tenant = i.tenant OFFSET 0
     ) AS k ON true
     LEFT JOIN LATERAL (SELECT id FROM events WHERE id = i.id AND id BETWEEN $4 AND $5 OFFSET 0) AS e ON true
     WHERE k.event_row_id IS NOT NULL OR e.id IS NOT NULL`,
    [
      events.map((event) => event.id),
      events.map((event) => event.tenant),
      events.map((event) => event.eventId),
      ...idRange(events.map((event) => event.id)),
    ],
  );
  return new Map(rows.map(({ id, rowId }) => [id, rowId]));
}

type EventIds = { readonly tenant: string; readonly eventIds: readonly string[] };

/** The row ids of a tenant's events with these publishers' ids, in at most two reads. */
export async function eventRowIds(db: Queryable, { tenant, eventIds }: EventIds): Promise<string[]> {
  // Postgres cannot store a NUL in text.
  const ids = eventIds.filter((id) => !id.includes('\0'));
  if (ids.length === 0) return [];
  const { rows: known } = await db.query<{ id: string }>(
    'SELECT event_row_id AS id FROM event_ids WHERE event_id = ANY ($2::text[]) AND tenant = $1',
    [tenant, ids],
  );
  // An event published without an id has the id of its row, and no row in event_ids.
  const own = ids.filter(isUuid);
  if (own.length === 0) return known.map(({ id }) => id);
  const { rows: unnamed } = await db.query<{ id: string }>(
    `SELECT id FROM events
     WHERE id = ANY ($2::uuid[]) AND id BETWEEN $3::uuid AND $4::uuid AND tenant = $1 AND event_id = id::text`,
    [tenant, own, ...idRange(own.map((id) => id.toLowerCase()))],
  );
  return [...new Set([...known, ...unnamed].map(({ id }) => id))];
}

export type NewRejectedEvent = {
  readonly id: string;
  readonly tenant: string | undefined;
  readonly subject: string;
  readonly reason: string;
  readonly message: string;
  readonly sizeBytes: number;
  /** The position of its span, for the log; undefined without tracing. */
  readonly traceParent?: string | undefined;
};

/** Records rejections and returns those that had not been recorded before. */
export async function insertRejectedEvents(
  db: Queryable,
  rejections: readonly NewRejectedEvent[],
): Promise<NewRejectedEvent[]> {
  const { rows } = await db.query<{ id: string }>(
    `WITH inserted AS (
       INSERT INTO rejected_events (id, tenant, subject, reason, message, size_bytes)
       SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::rejection_reason[], $5::text[], $6::integer[])
       ON CONFLICT DO NOTHING RETURNING id
     ), ${recordChanges({ rejected_events: 'inserted' })}
     SELECT id FROM inserted`,
    [
      rejections.map((rejection) => rejection.id),
      rejections.map((rejection) => rejection.tenant ?? null),
      rejections.map((rejection) => rejection.subject),
      rejections.map((rejection) => rejection.reason),
      rejections.map((rejection) => rejection.message),
      rejections.map((rejection) => rejection.sizeBytes),
    ],
  );
  const recorded = new Set(rows.map(({ id }) => id));
  return rejections.filter(({ id }) => recorded.has(id));
}

/** The size of the data of these events in bytes, by row id. */
export async function readEventDataSizes(db: Queryable, ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const { rows } = await db.query<{ id: string; bytes: number }>(
    'SELECT id, octet_length(data) AS bytes FROM events WHERE id = ANY($1::uuid[]) AND id BETWEEN $2 AND $3',
    [ids, ...idRange(ids)],
  );
  return new Map(rows.map(({ id, bytes }) => [id, bytes]));
}

/** The data of these events, by row id. */
export async function readEventData(db: Queryable, ids: readonly string[]): Promise<ReadonlyMap<string, Buffer>> {
  if (ids.length === 0) return new Map();
  const { rows } = await db.query<{ id: string; data: Buffer }>(
    'SELECT id, data FROM events WHERE id = ANY($1::uuid[]) AND id BETWEEN $2 AND $3',
    [ids, ...idRange(ids)],
  );
  return new Map(rows.map(({ id, data }) => [id, data]));
}

/** The event data of deliveries whose messages do not carry it, by delivery id. Redacted data is left out. */
export async function readDataOfDeliveries(
  db: Queryable,
  deliveryIds: readonly string[],
): Promise<ReadonlyMap<string, Buffer>> {
  const { rows } = await db.query<{ id: string; data: Buffer }>(
    `SELECT d.id, e.data FROM deliveries d
     CROSS JOIN LATERAL (SELECT data FROM events WHERE id = d.event_id AND redacted_at IS NULL OFFSET 0) AS e
     WHERE d.id = ANY ($1::uuid[]) AND d.id BETWEEN $2::uuid AND $3::uuid`,
    [deliveryIds, ...idRange(deliveryIds)],
  );
  return new Map(rows.map(({ id, data }) => [id, data]));
}
