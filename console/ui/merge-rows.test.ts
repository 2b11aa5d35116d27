import { expect, test } from 'vitest';
import { mergeRows } from './merge-rows.ts';

type Row = { readonly id: string; readonly at: string; readonly status: string };

const rowOf = (id: string, at: string, status = 'PENDING'): Row => ({ id, at, status });
const RULES = {
  keyOf: ({ id }: Row) => id,
  orderKeyOf: ({ at }: Row) => at,
  matches: ({ status }: Row) => status === 'PENDING',
};
const merge = (rows: readonly Row[], changed: readonly Row[], hasMore = false) =>
  mergeRows(rows, { ...RULES, hasMore, changes: new Map(changed.map((row) => [row.id, row])) });

const ROWS = [rowOf('c', '3'), rowOf('b', '2'), rowOf('a', '1')];

test('a changed row keeps its place, and leaves the list once it does not match', () => {
  const changed = { ...rowOf('b', '2'), note: 'changed' };
  expect(merge(ROWS, [changed])).toEqual([ROWS[0], changed, ROWS[2]]);
  expect(merge(ROWS, [rowOf('b', '2', 'SUCCESS')]).map(({ id }) => id)).toEqual(['c', 'a']);
});

test('new rows are inserted by their time, and only those that match', () => {
  const rows = merge(ROWS, [rowOf('e', '5'), rowOf('d', '4', 'SUCCESS'), rowOf('x', '2.5')]);
  expect(rows.map(({ id }) => id)).toEqual(['e', 'c', 'x', 'b', 'a']);
});

test('a list by names begins with the first one, and gets a new one in its place', () => {
  const byName = { ...RULES, orderKeyOf: ({ id }: Row) => id, isAscending: true };
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((id) => rowOf(id, ''));
  if (a === undefined || b === undefined || c === undefined || d === undefined) throw new Error('four rows are needed');
  const changes = new Map([b, d].map((row) => [row.id, row]));
  expect(mergeRows([a, c], { ...byName, hasMore: false, changes })).toEqual([a, b, c, d]);
  expect(mergeRows([a, c], { ...byName, hasMore: true, changes })).toEqual([a, b, c]);
});

test('an old row is inserted only if all older rows have been read', () => {
  expect(merge(ROWS, [rowOf('0', '0')], true)).toEqual(ROWS);
  expect(merge(ROWS, [rowOf('0', '0')]).map(({ id }) => id)).toEqual(['c', 'b', 'a', '0']);
  expect(merge([], [rowOf('0', '0')])).toHaveLength(1);
});
