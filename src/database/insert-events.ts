import type { Queryable } from './transaction.ts';

export type NewEvent = {
  readonly id: string;
  readonly tenant: string;
  readonly eventId: string;
  readonly type: string;
  readonly occurredAt: Date;
  readonly data: Buffer;
};

/** Inserts the events that are new, by id and by the tenant's event id, and returns the ids of those. */
export async function insertEvents(db: Queryable, events: readonly NewEvent[]): Promise<Set<string>> {
  const { rows } = await db.query<{ id: string }>(
    `INSERT INTO events (id, tenant, event_id, type, occurred_at, data)
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bytea[])
     ON CONFLICT DO NOTHING
     RETURNING id`,
    [
      events.map((event) => event.id),
      events.map((event) => event.tenant),
      events.map((event) => event.eventId),
      events.map((event) => event.type),
      events.map((event) => event.occurredAt),
      events.map((event) => event.data),
    ],
  );
  return new Set(rows.map((row) => row.id));
}
