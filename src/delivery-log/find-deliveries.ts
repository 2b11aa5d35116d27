import { GraphQLError } from 'graphql';
import { idRange } from '../lib/id-range.ts';
import type { Prisma, PrismaClient } from '../generated/prisma/client.ts';
import { answeredIn, type CandidateSource, failedIn, rarelyAnswered } from './delivery-candidates.ts';
import type { DeliveryFilter } from './delivery-filter.ts';
import { deliveryWhere, meansFailures } from './delivery-filter-where.ts';
import { beyond } from '../schema/page.ts';

export type DeliverySearch<Row> = {
  readonly filter: DeliveryFilter;
  readonly query: { readonly take: number; readonly cursor?: object };
  /** Reads deliveries beyond the query's cursor, newest first; a negative `take` means from the end. */
  readonly find: (where: Prisma.DeliveryWhereInput, take: number) => Promise<Row[]>;
  /** Ends the search. */
  readonly signal: AbortSignal | undefined;
};

/** Of one statement: with each, Postgres has more to plan. */
const MAX_CANDIDATES = 1_000;
/** A search of so many takes a second or two; whoever looks for less than one in a thousand can say more of it. */
const MAX_ROUNDS = 50;

/**
 * A page of the deliveries that a filter means. If attempts of theirs have to have ended in a certain way, it goes
 * through what may be meant in the order of the page, in rounds: left to itself, Postgres joins one whole table with
 * the other. A GraphQLError LIMIT_EXCEEDED, if that takes too many rounds.
 */
export async function findDeliveries<Row>(prisma: PrismaClient, search: DeliverySearch<Row>): Promise<Row[]> {
  const { filter, query, find, signal } = search;
  const { take } = query;
  if (filter.statusCodes == null && filter.failureReasons == null) return find(deliveryWhere(filter), take);
  const own = deliveryWhere({ ...filter, statusCodes: undefined, failureReasons: undefined });
  const options = { filter, isBackwards: take < 0 };
  let source: CandidateSource = meansFailures(filter) ? failedIn(prisma, options) : answeredIn(prisma, options);
  let found: Row[] = [];
  let bound: Prisma.UuidFilter | undefined = beyond(query.cursor, take)[0]?.id;
  // As a rule the first are enough: more only if the deliveries have to be of a rare status too, or the codes are rare.
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
  throw tooFarApart();
}

function tooFarApart(): GraphQLError {
  const max = MAX_ROUNDS * MAX_CANDIDATES;
  const message = `among some ${max} deliveries are too few that the filter means; narrow it, by time for example`;
  return new GraphQLError(message, { extensions: { code: 'LIMIT_EXCEEDED', limit: 'search', max } });
}
