import { idRange } from '../database/id-range.ts';
import type { Prisma, PrismaClient } from '../generated/prisma/client.ts';
import type { DeliveryFilter } from './delivery-filter.ts';
import { attemptWhere, deliveryIdBounds, deliveryWhere, meansFailures } from './delivery-filter-where.ts';
import { beyond, NEWEST_FIRST } from './page.ts';

export type DeliverySearch<Row> = {
  readonly filter: DeliveryFilter;
  readonly query: { readonly take: number; readonly cursor?: object };
  /** Reads deliveries beyond the query's cursor, newest first; a negative `take` means from the end. */
  readonly find: (where: Prisma.DeliveryWhereInput, take: number) => Promise<Row[]>;
};

/** Of one statement: with each, Postgres has more to plan. */
const MAX_CANDIDATES = 1_000;

/**
 * A page of the deliveries that a filter means. If attempts of theirs have to have failed in a certain way, it begins
 * with those, in the order of their deliveries: left to itself, Postgres joins one whole table with the other.
 */
export async function findDeliveries<Row>(prisma: PrismaClient, search: DeliverySearch<Row>): Promise<Row[]> {
  const { filter, query, find } = search;
  const { take } = query;
  if (!meansFailures(filter)) return find(deliveryWhere(filter), take);
  const own = { ...filter, statusCodes: undefined, failureReasons: undefined };
  let found: Row[] = [];
  let bounds: Prisma.UuidFilter[] = [...beyond(query.cursor, take).map(({ id }) => id), ...deliveryIdBounds(filter)];
  // As a rule these are enough: more only if the deliveries have to be of a rare status too.
  for (let limit = 2 * Math.abs(take); ; limit = Math.min(4 * limit, MAX_CANDIDATES)) {
    const ids = await findCandidates(prisma, { filter, bounds, isBackwards: take < 0, limit });
    const [least, greatest] = idRange(ids);
    const missing = (Math.abs(take) - found.length) * Math.sign(take);
    const where = { AND: [deliveryWhere(own), { id: { in: [...new Set(ids)], gte: least, lte: greatest } }] };
    const rows = ids.length === 0 ? [] : await find(where, missing);
    found = take < 0 ? [...rows, ...found] : [...found, ...rows];
    if (ids.length < limit || found.length >= Math.abs(take)) return found;
    bounds = [...bounds, take < 0 ? { gt: greatest } : { lt: least }];
  }
}

type Candidates = {
  readonly filter: DeliveryFilter;
  readonly bounds: readonly Prisma.UuidFilter[];
  readonly isBackwards: boolean;
  readonly limit: number;
};

/** Ids of deliveries, with doubles, of which an attempt failed as the filter says. */
async function findCandidates(
  prisma: PrismaClient,
  { filter, bounds, isBackwards, limit }: Candidates,
): Promise<string[]> {
  const { tenant, subscriptionIds, eventTypes, statusCodes, failureReasons } = filter;
  const attempts = await prisma.attempt.findMany({
    where: {
      AND: [
        attemptWhere({ tenant, subscriptionIds, eventTypes, statusCodes, failureReasons }),
        ...bounds.map((deliveryId) => ({ deliveryId })),
      ],
    },
    select: { deliveryId: true },
    orderBy: { deliveryId: isBackwards ? 'asc' : NEWEST_FIRST.id },
    take: limit,
  });
  return attempts.map(({ deliveryId }) => deliveryId);
}
