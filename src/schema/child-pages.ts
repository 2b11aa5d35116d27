import type { Database } from '../database/client.ts';
import { idRange } from '../database/id-range.ts';
import { type ChildPage, idsOfChildren } from '../database/ids-of-children.ts';
import type { Attempt, Delivery, Prisma } from '../generated/prisma/client.ts';
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

export function createChildPages({ pool, prisma }: Database): ChildPages {
  const childrenOf = async (of: ChildPage['of'], parentIds: readonly string[], query: PageQuery<object>) => {
    const ids = await idsOfChildren(pool, {
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
      return groupBy(rows ?? [], ({ deliveryId }) => deliveryId);
    }),
    deliveriesOf: batched(async (ids, query: PageQuery<Prisma.DeliveryInclude>) => {
      const page = await childrenOf('deliveries of events', ids, query);
      const rows = page && (await prisma.delivery.findMany({ ...page, ...includeOf(query) }));
      return groupBy(rows ?? [], ({ eventId }) => eventId);
    }),
  };
}

function includeOf<Include>({ include }: PageQuery<Include>): { include?: Include } {
  return include === undefined ? {} : { include };
}

function groupBy<Row>(rows: readonly Row[], keyOf: (row: Row) => string): Map<string, Row[]> {
  const groups = new Map<string, Row[]>();
  for (const row of rows) groups.set(keyOf(row), [...(groups.get(keyOf(row)) ?? []), row]);
  return groups;
}

type Load<Query, Row> = (parentIds: readonly string[], query: Query) => Promise<ReadonlyMap<string, Row[]>>;
type Batch<Row> = { readonly ids: Set<string>; readonly rows: Promise<ReadonlyMap<string, Row[]>> };

/** Waits until all resolvers of this turn have asked; what they ask alike is one batch. */
function batched<Query, Row>(load: Load<Query, Row>): (parentId: string, query: Query) => Promise<Row[]> {
  const batches = new Map<string, Batch<Row>>();
  return async (parentId, query) => {
    const key = JSON.stringify(query);
    const batch = batches.get(key) ?? startBatch(() => batches.delete(key), { load, query });
    batches.set(key, batch);
    batch.ids.add(parentId);
    return (await batch.rows).get(parentId) ?? [];
  };
}

function startBatch<Query, Row>(
  close: () => void,
  { load, query }: { readonly load: Load<Query, Row>; readonly query: Query },
): Batch<Row> {
  const ids = new Set<string>();
  const isFull = new Promise<void>((resolve) => {
    setImmediate(resolve);
  });
  const rows = isFull.then(() => {
    close();
    return load([...ids], query);
  });
  return { ids, rows };
}
