import type { Database } from '../database/client.ts';
import { idRange } from '../database/id-range.ts';
import { type ChildPage, idsOfChildren } from '../database/ids-of-children.ts';
import type { Attempt, Delivery, Prisma } from '../generated/prisma/client.ts';
import { groupBy } from '../group-by.ts';
import { batched } from './batched.ts';
import { cursorId, NEWEST_FIRST } from './page.ts';

type PageQuery<Include> = {
  readonly take: number;
  readonly skip: number;
  readonly cursor?: object;
  readonly include?: Include;
};

/** Pages of connections inside rows: those that one turn of resolvers asks for are read with two statements together. */
export type ChildPages = {
  readonly attemptsOf: (deliveryId: string, query: PageQuery<Prisma.AttemptInclude>) => Promise<Attempt[]>;
  readonly deliveriesOf: (eventId: string, query: PageQuery<Prisma.DeliveryInclude>) => Promise<Delivery[]>;
};

export function createChildPages({ readPool, prisma }: Database): ChildPages {
  const childrenOf = async (of: ChildPage['of'], parentIds: readonly string[], query: PageQuery<object>) => {
    const ids = await idsOfChildren(readPool, {
      ...{ of, parentIds, beyondId: cursorId(query.cursor), limit: Math.abs(query.take), isBackwards: query.take < 0 },
    });
    const [gte, lte] = idRange(ids);
    // Prisma refuses a range between nothing and nothing.
    return ids.length === 0 ? undefined : { where: { id: { in: ids, gte, lte } }, orderBy: NEWEST_FIRST };
  };
  return {
    attemptsOf: batched(async (ids, query: PageQuery<Prisma.AttemptInclude>) => {
      const page = await childrenOf('attempts of deliveries', ids, query);
      const rows = page && (await prisma.attempt.findMany({ ...page, ...includeOf(query) }));
      return groupsOf(
        ids,
        groupBy(rows ?? [], ({ deliveryId }) => deliveryId),
      );
    }),
    deliveriesOf: batched(async (ids, query: PageQuery<Prisma.DeliveryInclude>) => {
      const page = await childrenOf('deliveries of events', ids, query);
      const rows = page && (await prisma.delivery.findMany({ ...page, ...includeOf(query) }));
      return groupsOf(
        ids,
        groupBy(rows ?? [], ({ eventId }) => eventId),
      );
    }),
  };
}

function includeOf<Include>({ include }: PageQuery<Include>): { include?: Include } {
  return include === undefined ? {} : { include };
}

function groupsOf<Row>(ids: readonly string[], groups: ReadonlyMap<string, Row[]>): Map<string, Row[]> {
  return new Map(ids.map((id) => [id, groups.get(id) ?? []]));
}
