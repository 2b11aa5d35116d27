import type { Attempt, Delivery, Prisma } from '../generated/prisma/client.ts';
import { batched } from '../lib/batched.ts';
import { groupBy } from '../lib/collections.ts';
import { idRange, leastChildId } from '../lib/uuid7.ts';
import type { Database, Queryable } from '../postgres/client.ts';
import { cursorId, NEWEST_FIRST } from '../postgres/keyset.ts';

type PageQuery<Include> = {
  readonly take: number;
  readonly skip: number;
  readonly cursor?: object;
  readonly include?: Include;
};

/** Pages of nested connections. Pages requested in one turn of the event loop are read with two statements. */
export type ChildPages = {
  readonly attemptsOf: (deliveryId: string, query: PageQuery<Prisma.AttemptInclude>) => Promise<Attempt[]>;
  readonly deliveriesOf: (eventId: string, query: PageQuery<Prisma.DeliveryInclude>) => Promise<Delivery[]>;
};

/** Maximum rows per statement: Prisma converts them to objects in one turn of the event loop. */
const MAX_ROWS = 250;

export function createChildPages(database: Database): ChildPages {
  const childrenOf = async (of: ChildPage['of'], parentIds: readonly string[], query: PageQuery<object>) => {
    const ids = await idsOfChildren(database.readPool, {
      of,
      parentIds,
      beyondId: cursorId(query.cursor),
      limit: Math.abs(query.take),
      isBackwards: query.take < 0,
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
        rows.push(...(await database.prisma.attempt.findMany({ ...slice, ...includeOf(query) })));
      }
      return groupsOf(
        ids,
        groupBy(rows.sort(newestFirst), ({ deliveryId }) => deliveryId),
      );
    }),
    deliveriesOf: batched(async (ids, query: PageQuery<Prisma.DeliveryInclude>) => {
      const rows: Delivery[] = [];
      for (const slice of await childrenOf('deliveries of events', ids, query)) {
        rows.push(...(await database.prisma.delivery.findMany({ ...slice, ...includeOf(query) })));
      }
      return groupsOf(
        ids,
        groupBy(rows.sort(newestFirst), ({ eventId }) => eventId),
      );
    }),
  };
}

/** The order of NEWEST_FIRST. */
function newestFirst(a: { readonly id: string }, b: { readonly id: string }): number {
  return a.id < b.id ? 1 : -1;
}

function includeOf<Include>({ include }: PageQuery<Include>): { include?: Include } {
  return include === undefined ? {} : { include };
}

function groupsOf<Row>(ids: readonly string[], groups: ReadonlyMap<string, Row[]>): Map<string, Row[]> {
  return new Map(ids.map((id) => [id, groups.get(id) ?? []]));
}

type ChildPage = {
  readonly of: 'attempts of deliveries' | 'deliveries of events';
  readonly parentIds: readonly string[];
  /** Whether to read the rows newer than `beyondId` instead of the older ones. */
  readonly isBackwards: boolean;
  /** The cursor of the page; undefined: the first page. */
  readonly beyondId: string | undefined;
  /** Maximum rows per parent. */
  readonly limit: number;
};

/**
 * Returns the ids of a page of each parent's children, newest first. A child is younger than its parent, except for
 * clock drift.
 */
async function idsOfChildren(db: Queryable, page: ChildPage): Promise<string[]> {
  const { parentIds, beyondId = null, limit, isBackwards } = page;
  const [table, column] =
    page.of === 'attempts of deliveries'
      ? (['attempts', 'delivery_id'] as const)
      : (['deliveries', 'event_id'] as const);
  const { rows } = await db.query<{ id: string }>(
    `SELECT child.id FROM unnest($1::uuid[], $2::uuid[]) AS parent (id, earliest)
     CROSS JOIN LATERAL (
       SELECT c.id FROM ${table} c
       WHERE c.${column} = parent.id AND c.id >= parent.earliest
         AND ($3::uuid IS NULL OR c.id ${isBackwards ? '>' : '<'} $3::uuid)
       ORDER BY c.id ${isBackwards ? 'ASC' : 'DESC'} LIMIT $4
     ) AS child`,
    [parentIds, parentIds.map(leastChildId), beyondId, limit],
  );
  return rows.map(({ id }) => id);
}
