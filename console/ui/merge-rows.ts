/** The key, the place and the condition of the rows of a list. */
export type RowRules<Row> = {
  readonly keyOf: (row: Row) => string;
  /** A text whose order is that of the rows, the greatest first. */
  readonly orderKeyOf: (row: Row) => string;
  /** Whether the list begins with the least text. */
  readonly isAscending?: boolean;
  /** Whether a changed row belongs to the list. Left out: each one does. */
  readonly matches?: (row: Row) => boolean;
};

type Merge<Row> = RowRules<Row> & {
  /** The newest state of each row that changed, by its key. */
  readonly changes: ReadonlyMap<string, Row>;
  /** Whether there are older rows that have not been read: changed ones are among them. */
  readonly hasMore: boolean;
};

/** The rows in their order, after changes: known rows keep their place, those that do not match any more are left out, new ones are inserted. */
export function mergeRows<Row>(rows: readonly Row[], options: Merge<Row>): readonly Row[] {
  const { changes, hasMore, keyOf, orderKeyOf, matches = () => true, isAscending = false } = options;
  const order = (one: Row, other: Row) => compare(orderKeyOf(one), orderKeyOf(other)) * (isAscending ? 1 : -1);
  if (changes.size === 0) return rows;
  const unknown = new Map(changes);
  const merged = rows.flatMap((row) => {
    const key = keyOf(row);
    unknown.delete(key);
    const changed = changes.get(key) ?? row;
    return changed === row || matches(changed) ? [changed] : [];
  });
  const last = rows.at(-1);
  const added = [...unknown.values()].filter(
    (row) => matches(row) && (!hasMore || last === undefined || order(row, last) < 0),
  );
  // The sort is stable: rows of the same time keep their order.
  return [...added, ...merged].sort(order);
}

function compare(one: string, other: string): number {
  return one === other ? 0 : one < other ? -1 : 1;
}
