import type { Prisma, PrismaClient } from '../generated/prisma/client.ts';
import { LimitExceededError } from '../lib/errors.ts';
import { idRange, leastChildId } from '../lib/uuid7.ts';
import { type Queryable, queryableOf } from '../postgres/client.ts';
import { afterCursor } from '../postgres/keyset.ts';
import { attemptWhere, deliveryIdBounds, deliveryWhere, type ResolvedFilter, selectsOnlyFailures } from './filter.ts';

type DeliverySearch<Row> = {
  readonly filter: ResolvedFilter;
  readonly query: { readonly take: number; readonly cursor?: object };
  /** Reads deliveries beyond the query's cursor, newest first; a negative `take` reads from the end. */
  readonly find: (where: Prisma.DeliveryWhereInput, take: number) => Promise<Row[]>;
  /** Aborts the search. */
  readonly signal: AbortSignal | undefined;
};

/** Maximum candidates per statement: planning time grows with their number. */
const MAX_CANDIDATES = 1_000;
/**
 * Maximum rounds of a search, which take a second or two. A rarer match, below one in a thousand, needs a narrower
 * filter.
 */
const MAX_ROUNDS = 50;
/** Maximum ids of a rare match kept in memory: a few hundred kilobytes. */
const MAX_RARE = 5_000;

/**
 * Returns a page of the deliveries that match a filter. If the filter has conditions on attempts or on reasons for
 * waiting, reads candidates in the order of the page, in rounds: Postgres would otherwise join whole tables. Throws a
 * LimitExceededError after too many rounds.
 */
export async function findDeliveries<Row>(prisma: PrismaClient, search: DeliverySearch<Row>): Promise<Row[]> {
  const { filter, query, find, signal } = search;
  const { take } = query;
  if (isOneStatement(filter)) return find(deliveryWhere(filter), take);
  const own = deliveryWhere({ ...filter, statusCodes: undefined, failureReasons: undefined });
  const options = { filter, isBackwards: take < 0 };
  let source: CandidateSource = selectsOnlyFailures(filter) ? failedIn(prisma, options) : candidatesIn(prisma, options);
  let found: Row[] = [];
  let bound: Prisma.UuidFilter | undefined = afterCursor(query.cursor, take)[0]?.id;
  // One round is usually enough. More are needed if the delivery status or the codes are rare.
  let limit = 2 * Math.abs(take);
  for (let round = 1; round <= MAX_ROUNDS; round += 1) {
    signal?.throwIfAborted();
    const { ids, last } = await source(bound, limit);
    const [gte, lte] = idRange(ids);
    const missing = (Math.abs(take) - found.length) * Math.sign(take);
    const rows = ids.length === 0 ? [] : await find({ AND: [own, { id: { in: ids, gte, lte } }] }, missing);
    found = take < 0 ? [...rows, ...found] : [...found, ...rows];
    if (last === undefined || found.length >= Math.abs(take)) return found;
    bound = take < 0 ? { gt: last } : { lt: last };
    limit = Math.min(4 * limit, MAX_CANDIDATES);
    if (round === 1) source = (await rarelyAnswered(prisma, { ...options, bound })) ?? source;
  }
  throw tooManyRounds();
}

function isOneStatement(filter: ResolvedFilter): boolean {
  // With at most 250 ids, Postgres starts with the ids.
  const isNamed = filter.ids != null || filter.eventRowIds !== undefined;
  return isNamed || !(isOfAttempts(filter) || filter.waiting !== undefined);
}

function isOfAttempts({ statusCodes, failureReasons }: ResolvedFilter): boolean {
  return statusCodes != null || failureReasons != null;
}

function tooManyRounds(): LimitExceededError {
  const max = MAX_ROUNDS * MAX_CANDIDATES;
  const message = `too few of the first ${max} deliveries match the filter; narrow it, for example by time`;
  return new LimitExceededError(message, { limit: 'search', max });
}

type Bound = Prisma.UuidFilter | undefined;

/**
 * Returns the next deliveries, in the order of a page, with an attempt that matches the filter; the caller may have to
 * check the conditions on the delivery itself. `last`: the last candidate read; undefined if there are no more.
 */
type CandidateSource = (
  bound: Bound,
  limit: number,
) => Promise<{ readonly ids: string[]; readonly last: string | undefined }>;

type Options = { readonly filter: ResolvedFilter; readonly isBackwards: boolean };

/** Reads failed attempts first: they have an index in the order of their deliveries. */
function failedIn(prisma: PrismaClient, { filter, isBackwards }: Options): CandidateSource {
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

/**
 * Reads deliveries first and then looks up their attempts: most deliveries succeed, so most have a matching status
 * code.
 */
function candidatesIn(prisma: PrismaClient, { filter, isBackwards }: Options): CandidateSource {
  const pending = filter.waiting === undefined ? {} : { status: 'PENDING' as const, isUnsuccessful: true };
  const own = { ...deliveryWhere({ ...filter, statusCodes: undefined, waiting: undefined }), ...pending };
  return async (bound, limit) => {
    const deliveries = await prisma.delivery.findMany({
      where: { AND: [own, { ...(bound && { id: bound }) }] },
      select: { id: true },
      orderBy: { id: isBackwards ? 'asc' : 'desc' },
      take: limit,
    });
    const deliveryIds = deliveries.map(({ id }) => id);
    const last = deliveryIds.length < limit ? undefined : deliveryIds.at(-1);
    const { statusCodes } = filter;
    if (deliveryIds.length === 0 || statusCodes == null) return { ids: deliveryIds, last };
    return { ids: await answeredDeliveries(queryableOf(prisma), { deliveryIds, statusCodes }), last };
  };
}

/**
 * Returns all deliveries beyond the bound with an attempt that matches the filter; undefined if there are more than
 * MAX_RARE, or if there is no index for the search.
 */
async function rarelyAnswered(
  prisma: PrismaClient,
  { filter, isBackwards, bound }: Options & { readonly bound: Bound },
): Promise<CandidateSource | undefined> {
  if (!isOfAttempts(filter) || selectsOnlyFailures(filter)) return undefined;
  if (filter.tenant == null && filter.subscriptionIds == null) return undefined;
  // An attempt is younger than its delivery: this bound lets Postgres exclude partitions.
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

/** Includes the columns that an attempt shares with its delivery, so that Postgres can use their indexes. */
function endedAs({ tenant, subscriptionIds, eventTypes, statusCodes, failureReasons }: ResolvedFilter) {
  return attemptWhere({ tenant, subscriptionIds, eventTypes, statusCodes, failureReasons });
}

function deliveryBounds(filter: ResolvedFilter, bound: Bound): { deliveryId: Prisma.UuidFilter }[] {
  return [...deliveryIdBounds(filter), ...(bound === undefined ? [] : [bound])].map((deliveryId) => ({ deliveryId }));
}

type Answers = {
  readonly deliveryIds: readonly string[];
  /** Ranges that include both ends. */
  readonly statusCodes: readonly { readonly from: number; readonly to: number }[];
};

/**
 * Returns those of the deliveries that have an attempt with one of these status codes. Each delivery is looked up
 * separately, beginning with the oldest partition that can contain its attempts, which is usually the right one.
 */
async function answeredDeliveries(db: Queryable, { deliveryIds, statusCodes }: Answers): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(SEARCH, [
    deliveryIds,
    deliveryIds.map(leastChildId),
    statusCodes.map(({ from }) => from),
    statusCodes.map(({ to }) => to),
  ]);
  return rows.map(({ id }) => id);
}

const SEARCH = `
  SELECT d.id FROM unnest($1::uuid[], $2::uuid[]) AS d (id, earliest)
  CROSS JOIN LATERAL (
    SELECT FROM attempts a
    WHERE a.delivery_id = d.id AND a.id >= d.earliest AND EXISTS (
      SELECT FROM unnest($3::integer[], $4::integer[]) AS r (least, greatest)
      WHERE a.status_code BETWEEN r.least AND r.greatest
    )
    LIMIT 1
  ) AS answer`;
