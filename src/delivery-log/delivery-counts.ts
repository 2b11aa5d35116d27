import type { DeliveryStatus } from '../generated/prisma/enums.ts';
import { batched } from '../lib/batched.ts';
import { leastChildId, uuid7Floor, uuid7Time } from '../lib/uuid7.ts';
import type { Database, Queryable } from '../postgres/client.ts';
import { NEWEST_FIRST } from '../postgres/keyset.ts';
import { findDeliveries } from './delivery-search.ts';
import type { ResolvedFilter } from './filter.ts';

/** The number of deliveries of each status. If `isExact` is false, there are more. */
export type DeliveryCounts = Readonly<Record<DeliveryStatus, number>> & { readonly isExact: boolean };

/**
 * Counts the deliveries of an event, by the id of its row, or of a replay. The counts requested in one turn of the event
 * loop are read together.
 */
export type DeliveryCounter = (parentId: string) => Promise<DeliveryCounts>;

/**
 * Maximum deliveries that are counted per event or replay: for 250 events that is 250,000 rows, which takes about a
 * second.
 */
const MAX_PER_PARENT = 1_000;

export function createEventCounter({ readPool }: Pick<Database, 'readPool'>): DeliveryCounter {
  const load = batched((ids) => countOf(readPool, { sql: OF_EVENTS, ids, earliest: ids.map(leastChildId) }));
  return (eventRowId) => load(eventRowId, null);
}

export function createReplayCounter({ readPool }: Pick<Database, 'readPool'>): DeliveryCounter {
  // The ids of a replay's deliveries are not older than the replay.
  const firstIds = (ids: readonly string[]) => ids.map((id) => uuid7Floor(uuid7Time(id)));
  const load = batched((ids) => countOf(readPool, { sql: OF_REPLAYS, ids, earliest: firstIds(ids) }));
  return (replayId) => load(replayId, null);
}

/** Maximum deliveries that are counted per status. */
export const MAX_PER_STATUS = 1_000;

/** Counts the deliveries that match a filter, each status separately: there can be a thousand successes per failure. */
export async function countDeliveries(
  { prisma }: Pick<Database, 'prisma'>,
  { filter, signal }: { readonly filter: ResolvedFilter; readonly signal: AbortSignal | undefined },
): Promise<DeliveryCounts> {
  const counts: Record<DeliveryStatus, number> = { PENDING: 0, SUCCESS: 0, FAILURE: 0, CANCELLED: 0 };
  for (const status of DELIVERY_STATUSES) {
    if (filter.statuses?.includes(status) === false) continue;
    if (filter.waiting !== undefined && status !== 'PENDING') continue;
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

type Parents = { readonly sql: string; readonly ids: readonly string[]; readonly earliest: readonly string[] };

async function countOf(db: Queryable, { sql, ids, earliest }: Parents): Promise<ReadonlyMap<string, DeliveryCounts>> {
  const { rows } = await db.query<Row>(sql, [ids, earliest, MAX_PER_PARENT + 1]);
  return new Map(
    ids.map((id) => [
      id,
      countsOf(
        rows.filter((row) => row.id === id),
        MAX_PER_PARENT,
      ),
    ]),
  );
}

/** Sums the counts of rows that were read up to a limit of `max` + 1. */
function countsOf(rows: readonly Pick<Row, 'status' | 'count'>[], max: number): DeliveryCounts {
  const counts = { PENDING: 0, SUCCESS: 0, FAILURE: 0, CANCELLED: 0 };
  for (const { status, count } of rows) counts[status] += count;
  return { ...counts, isExact: rows.reduce((sum, { count }) => sum + count, 0) <= max };
}

const OF_EVENTS = countsBy('event_id');
const OF_REPLAYS = countsBy('replay_id');

function countsBy(column: 'event_id' | 'replay_id'): string {
  return `
    SELECT parent.id, delivery.status, count(*)::integer AS count
    FROM unnest($1::uuid[], $2::uuid[]) AS parent (id, earliest)
    CROSS JOIN LATERAL (
      SELECT status FROM deliveries d WHERE d.${column} = parent.id AND d.id >= parent.earliest LIMIT $3
    ) AS delivery
    GROUP BY 1, 2`;
}
