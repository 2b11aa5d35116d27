const UUID_LENGTH = 36;

/** Newest first: ids begin with the time. */
export const NEWEST_FIRST = { id: 'desc' } as const;

type ConnectionQuery = { readonly take: number; readonly skip: number; readonly cursor?: object };

/**
 * The arguments of `findMany` for a connection's query. Prisma's own cursor looks up its row in the statement: Postgres would not
 * know which partitions it needs when it plans, would find nothing after a row that is gone, and would tell whether there
 * is such a row to somebody whose it is not.
 */
export function pageOf<Query extends ConnectionQuery, Where extends object>(query: Query, where: Where) {
  const { cursor, ...rest } = query;
  return { ...rest, skip: 0, where: { AND: [where, ...beyond(cursor, query.take)] }, orderBy: NEWEST_FIRST };
}

/** The condition of the rows beyond the cursor. */
export function beyond(cursor: object | undefined, take: number): { id: { gt: string } | { lt: string } }[] {
  const id = cursorId(cursor);
  if (id === undefined) return [];
  // With a negative `take`, for `before`, Prisma turns the order round.
  return [{ id: take < 0 ? { gt: id } : { lt: id } }];
}

export function cursorId(cursor: object | undefined): string | undefined {
  // `as`: made of the arguments of PAGE, whose cursor is the id, or of LOG_PAGE, where it is the first of several.
  return (cursor as { readonly id: string } | undefined)?.id.slice(0, UUID_LENGTH);
}
