import { answeredDeliveries } from './answered-deliveries.ts';
import { leastChildId } from '../lib/clock-drift.ts';
import { inPrismaTransaction } from '../postgres/in-prisma-transaction.ts';
import type { Prisma, PrismaClient } from '../generated/prisma/client.ts';
import type { DeliveryFilter } from './delivery-filter.ts';
import { attemptWhere, deliveryIdBounds, deliveryWhere, meansFailures } from './delivery-filter-where.ts';

type Bound = Prisma.UuidFilter | undefined;

/**
 * The next deliveries, in the order of a page, of which an attempt ended as the filter says; the filter's own conditions
 * on the delivery may be left to the caller. `last` is how far was looked: undefined if there is nothing beyond.
 */
export type CandidateSource = (
  bound: Bound,
  limit: number,
) => Promise<{ readonly ids: string[]; readonly last: string | undefined }>;

type Options = { readonly filter: DeliveryFilter; readonly isBackwards: boolean };

/** Begins with the attempts that failed, for which there is an index in the order of their deliveries. */
export function failedIn(prisma: PrismaClient, { filter, isBackwards }: Options): CandidateSource {
  return async (bound, limit) => {
    const attempts = await prisma.attempt.findMany({
      where: { AND: [endedAs(filter), ...deliveryBounds(filter, bound)] },
      select: { deliveryId: true },
      orderBy: { deliveryId: isBackwards ? 'asc' : 'desc' },
      take: limit,
    });
    const ids = attempts.map(({ deliveryId }) => deliveryId);
    return { ids: [...new Set(ids)], last: ids.length < limit ? undefined : ids.at(-1) };
  };
}

/** Begins with the deliveries, and looks at the attempts of each: most succeed, so most of them have a code of these. */
export function answeredIn(prisma: PrismaClient, { filter, isBackwards }: Options): CandidateSource {
  const own = deliveryWhere({ ...filter, statusCodes: undefined });
  return async (bound, limit) => {
    const deliveries = await prisma.delivery.findMany({
      where: { AND: [own, { ...(bound && { id: bound }) }] },
      select: { id: true },
      orderBy: { id: isBackwards ? 'asc' : 'desc' },
      take: limit,
    });
    const deliveryIds = deliveries.map(({ id }) => id);
    const last = deliveryIds.length < limit ? undefined : deliveryIds.at(-1);
    if (deliveryIds.length === 0) return { ids: [], last };
    const statusCodes = filter.statusCodes ?? [];
    return { ids: await answeredDeliveries(inPrismaTransaction(prisma), { deliveryIds, statusCodes }), last };
  };
}

/** So many ids are a few hundred kilobytes. */
const MAX_RARE = 5_000;

/**
 * All deliveries beyond the bound of which an attempt ended as the filter says; undefined if they are many, or if there
 * is no index by which to look for them.
 */
export async function rarelyAnswered(
  prisma: PrismaClient,
  { filter, isBackwards, bound }: Options & { readonly bound: Bound },
): Promise<CandidateSource | undefined> {
  if (meansFailures(filter) || (filter.tenant == null && filter.subscriptionIds == null)) return undefined;
  // An attempt is younger than its delivery: the bound is for Postgres to leave out partitions.
  const least = [bound?.gt, ...deliveryIdBounds(filter).map((own) => ('gte' in own ? own.gte : undefined))];
  const attempts = await prisma.attempt.findMany({
    where: {
      AND: [
        endedAs(filter),
        ...deliveryBounds(filter, bound),
        ...least.flatMap((id) => (typeof id === 'string' ? [{ id: { gte: leastChildId(id) } }] : [])),
      ],
    },
    select: { deliveryId: true },
    take: MAX_RARE + 1,
  });
  if (attempts.length > MAX_RARE) return undefined;
  const ascending = [...new Set(attempts.map(({ deliveryId }) => deliveryId))].sort();
  const rest = isBackwards ? ascending : ascending.reverse();
  return (_bound, limit) => {
    const ids = rest.splice(0, limit);
    return Promise.resolve({ ids, last: rest.length === 0 ? undefined : ids.at(-1) });
  };
}

/** What a delivery has in common with its attempts, too, for the indexes. */
function endedAs({ tenant, subscriptionIds, eventTypes, statusCodes, failureReasons }: DeliveryFilter) {
  return attemptWhere({ tenant, subscriptionIds, eventTypes, statusCodes, failureReasons });
}

function deliveryBounds(filter: DeliveryFilter, bound: Bound): { deliveryId: Prisma.UuidFilter }[] {
  return [...deliveryIdBounds(filter), ...(bound === undefined ? [] : [bound])].map((deliveryId) => ({ deliveryId }));
}
