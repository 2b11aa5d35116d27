import type { Database } from '../postgres/client.ts';
import { idRange } from '../lib/id-range.ts';
import { type ChildPage, idsOfChildren } from './ids-of-children.ts';
import type { Attempt, Delivery, Prisma } from '../generated/prisma/client.ts';
import { groupBy } from '../lib/collections.ts';
import { batched } from './batched.ts';
import { cursorId, NEWEST_FIRST } from '../schema/page.ts';

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

/** Rows of one statement: Prisma makes objects of them without a pause. */
const MAX_ROWS = 250;

export function createChildPages({ readPool, prisma }: Database): ChildPages {
  const childrenOf = async (of: ChildPage['of'], parentIds: readonly string[], query: PageQuery<object>) => {
    const ids = await idsOfChildren(readPool, {
      ...{ of, parentIds, beyondId: cursorId(query.cursor), limit: Math.abs(query.take), isBackwards: query.take < 0 },
    });
    const slices = Array.from({ length: Math.ceil(ids.length / MAX_ROWS) }, (_, n) =>
      ids.slice(n * MAX_ROWS, (n + 1) * MAX_ROWS),
    );
    return slices.map((slice) => {
      const [gte, lte] = idRange(slice);
      return { where: { id: { in: slice, gte, lte } }, orderBy: NEWEST_FIRST };
    });
  };
  return {
    attemptsOf: batched(async (ids, query: PageQuery<Prisma.AttemptInclude>) => {
      const rows: Attempt[] = [];
      for (const slice of await childrenOf('attempts of deliveries', ids, query)) {
        rows.push(...(await prisma.attempt.findMany({ ...slice, ...includeOf(query) })));
      }
      return groupsOf(
        ids,
        groupBy(rows.sort(newestFirst), ({ deliveryId }) => deliveryId),
      );
    }),
    deliveriesOf: batched(async (ids, query: PageQuery<Prisma.DeliveryInclude>) => {
      const rows: Delivery[] = [];
      for (const slice of await childrenOf('deliveries of events', ids, query)) {
        rows.push(...(await prisma.delivery.findMany({ ...slice, ...includeOf(query) })));
      }
      return groupsOf(
        ids,
        groupBy(rows.sort(newestFirst), ({ eventId }) => eventId),
      );
    }),
  };
}

/** As NEWEST_FIRST says. */
function newestFirst(a: { readonly id: string }, b: { readonly id: string }): number {
  return a.id < b.id ? 1 : -1;
}

function includeOf<Include>({ include }: PageQuery<Include>): { include?: Include } {
  return include === undefined ? {} : { include };
}

function groupsOf<Row>(ids: readonly string[], groups: ReadonlyMap<string, Row[]>): Map<string, Row[]> {
  return new Map(ids.map((id) => [id, groups.get(id) ?? []]));
}
