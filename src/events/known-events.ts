import { idRange } from '../lib/id-range.ts';
import type { NewEvent } from './insert-events.ts';
import type { Queryable } from '../postgres/transaction.ts';

/** Of these events, those that have been written before: the row of each by the id it has now. */
export async function knownEvents(
  db: Queryable,
  events: readonly Pick<NewEvent, 'id' | 'tenant' | 'eventId'>[],
): Promise<Map<string, string>> {
  if (events.length === 0) return new Map();
  const { rows } = await db.query<{ id: string; rowId: string }>(
    `SELECT g.id, coalesce(k.event_row_id, e.id) AS "rowId"
     FROM unnest($1::uuid[], $2::text[], $3::text[]) AS g (id, tenant, event_id)
     LEFT JOIN event_ids k ON k.event_id = g.event_id AND k.tenant = g.tenant
     LEFT JOIN events e ON e.id = g.id AND e.id BETWEEN $4 AND $5
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
