import type { DeliveryStatus } from '../generated/prisma/enums.ts';
import { batched } from '../lib/batched.ts';
import { leastChildId } from '../lib/uuid7.ts';
import type { Database, Queryable } from '../postgres/client.ts';

/** The number of deliveries of each status. Unless they are exact, there are more. */
export type DeliveryCounts = Readonly<Record<DeliveryStatus, number>> & { readonly isExact: boolean };

/** Counts the deliveries of an event by its row id. The counts requested in one turn of the event loop are read together. */
export type EventSummary = (eventRowId: string) => Promise<DeliveryCounts>;

/** Deliveries of one event that are counted: 250 events come to 250,000 rows, which takes about a second. */
const MAX_PER_EVENT = 1_000;

export function createEventSummary({ readPool }: Pick<Database, 'readPool'>): EventSummary {
  const load = batched((ids) => countOfEvents(readPool, ids));
  return (eventRowId) => load(eventRowId, null);
}

type Row = { readonly id: string; readonly status: DeliveryStatus; readonly count: number };

async function countOfEvents(db: Queryable, ids: readonly string[]): Promise<ReadonlyMap<string, DeliveryCounts>> {
  const { rows } = await db.query<Row>(OF_EVENTS, [ids, ids.map(leastChildId), MAX_PER_EVENT + 1]);
  return new Map(
    ids.map((id) => [
      id,
      countsOf(
        rows.filter((row) => row.id === id),
        MAX_PER_EVENT,
      ),
    ]),
  );
}

/** The counts of rows that were read up to `max` and one more. */
function countsOf(rows: readonly Pick<Row, 'status' | 'count'>[], max: number): DeliveryCounts {
  const counts = { PENDING: 0, SUCCESS: 0, FAILURE: 0, CANCELLED: 0 };
  for (const { status, count } of rows) counts[status] += count;
  return { ...counts, isExact: rows.reduce((sum, { count }) => sum + count, 0) <= max };
}

const OF_EVENTS = `
  SELECT event.id, delivery.status, count(*)::integer AS count
  FROM unnest($1::uuid[], $2::uuid[]) AS event (id, earliest)
  CROSS JOIN LATERAL (
    SELECT status FROM deliveries d WHERE d.event_id = event.id AND d.id >= event.earliest LIMIT $3
  ) AS delivery
  GROUP BY 1, 2`;
