import type { DeliveryStatus } from '../generated/prisma/enums.ts';
import { batched } from '../lib/batched.ts';
import { leastChildId } from '../lib/uuid7.ts';
import type { Database, Queryable } from '../postgres/client.ts';
import { NEWEST_FIRST } from '../postgres/keyset.ts';
import type { DeliveryFilter } from './filter.ts';
import { findDeliveries } from './search.ts';

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

/** Deliveries of one status that are counted. */
export const MAX_PER_STATUS = 1_000;

/** Counts the deliveries that match a filter, each status on its own: there can be a thousand successes for each failure. */
export async function countDeliveries(
  { prisma }: Pick<Database, 'prisma'>,
  { filter, signal }: { readonly filter: DeliveryFilter; readonly signal: AbortSignal | undefined },
): Promise<DeliveryCounts> {
  const counts: Record<DeliveryStatus, number> = { PENDING: 0, SUCCESS: 0, FAILURE: 0, CANCELLED: 0 };
  for (const status of DELIVERY_STATUSES) {
    if (filter.statuses?.includes(status) === false) continue;
    const rows = await findDeliveries(prisma, {
      filter: { ...filter, statuses: [status] },
      query: { take: MAX_PER_STATUS + 1 },
      signal,
      find: (where, take) => prisma.delivery.findMany({ where, take, select: { id: true }, orderBy: NEWEST_FIRST }),
    });
    counts[status] = rows.length;
  }
  return countsUpTo(counts, MAX_PER_STATUS);
}

const DELIVERY_STATUSES: readonly DeliveryStatus[] = ['PENDING', 'SUCCESS', 'FAILURE', 'CANCELLED'];

function countsUpTo(counts: Readonly<Record<DeliveryStatus, number>>, max: number): DeliveryCounts {
  const shown = (status: DeliveryStatus) => Math.min(counts[status], max);
  return {
    PENDING: shown('PENDING'),
    SUCCESS: shown('SUCCESS'),
    FAILURE: shown('FAILURE'),
    CANCELLED: shown('CANCELLED'),
    isExact: DELIVERY_STATUSES.every((status) => counts[status] <= max),
  };
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
