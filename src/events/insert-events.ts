import type { Queryable } from '../postgres/transaction.ts';

export type NewEvent = {
  readonly id: string;
  readonly tenant: string;
  /** The publisher's id, or the same as `id`. */
  readonly eventId: string;
  readonly type: string;
  readonly occurredAt: Date;
  readonly data: Buffer;
};

type EventRow = NewEvent & {
  /** The tenant's version whose settings decide who gets it; absent if whom it is for is named. */
  readonly matchedVersion?: number;
  /** Filters of subscriptions from this id on count as not fulfilled. */
  readonly skippedFrom?: string | undefined;
};

/** Inserts the events that are new, by id and by the tenant's event id, and returns the ids of those. */
export async function insertEvents(db: Queryable, events: readonly EventRow[]): Promise<Set<string>> {
  const { rows } = await db.query<{ id: string }>(
    `WITH given AS (
       SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bytea[], $7::bigint[],
         $8::uuid[]) AS g (id, tenant, event_id, type, occurred_at, data, matched_version, skipped_from)
     ), unheard AS (
       INSERT INTO event_ids (tenant, event_id, event_row_id)
       SELECT tenant, event_id, id FROM given WHERE event_id <> id::text
       ON CONFLICT DO NOTHING
       RETURNING event_row_id
     )
     INSERT INTO events (id, tenant, event_id, type, occurred_at, data, matched_version, skipped_from)
     SELECT * FROM given WHERE event_id = id::text OR id IN (SELECT event_row_id FROM unheard)
     ON CONFLICT DO NOTHING
     RETURNING id`,
    [
      events.map((event) => event.id),
      events.map((event) => event.tenant),
      events.map((event) => event.eventId),
      events.map((event) => event.type),
      events.map((event) => event.occurredAt),
      events.map((event) => event.data),
      events.map((event) => event.matchedVersion ?? null),
      events.map((event) => event.skippedFrom ?? null),
    ],
  );
  return new Set(rows.map((row) => row.id));
}
