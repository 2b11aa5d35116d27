const UUID_LENGTH = 36;

/** Newest rows first: ids begin with the time of their creation. */
export const NEWEST_FIRST = { id: 'desc' } as const;

type ConnectionQuery = { readonly take: number; readonly skip: number; readonly cursor?: object };

/**
 * The arguments of `findMany` for the query of a connection. They replace Prisma's cursor by a condition on the id, because
 * Prisma looks up the cursor's row in the same statement. Postgres could then not exclude partitions when it plans; a page
 * after a deleted row would be empty; and a tenant could find out whether a row of another tenant exists.
 */
export function pageOf<Query extends ConnectionQuery, Where extends object>(query: Query, where: Where) {
  const { cursor, ...rest } = query;
  return { ...rest, skip: 0, where: { AND: [where, ...afterCursor(cursor, query.take)] }, orderBy: NEWEST_FIRST };
}

/** The condition for the rows after the cursor, in the order of the page. */
export function afterCursor(cursor: object | undefined, take: number): { id: { gt: string } | { lt: string } }[] {
  const id = cursorId(cursor);
  if (id === undefined) return [];
  // With a negative `take`, for `before`, Prisma reverses the order.
  return [{ id: take < 0 ? { gt: id } : { lt: id } }];
}

export function cursorId(cursor: object | undefined): string | undefined {
  // `as`: the cursor comes from the arguments of PAGE, where it is the id, or of LOG_PAGE, where the id is its first part.
  return (cursor as { readonly id: string } | undefined)?.id.slice(0, UUID_LENGTH);
}
