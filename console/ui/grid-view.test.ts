import { expect, test } from 'vitest';
import { placeOf, rowsAbove } from './grid-view.ts';

const rowKey = (row: string) => row;
const ROWS = Array.from({ length: 26 }, (_, index) => String.fromCodePoint(97 + index));

test('a row is found above and below its last place, and not once it has left', () => {
  const placeIn = (rows: readonly string[]) => placeOf({ rows, rowKey }, 'k', 10);
  expect(placeIn(ROWS)).toBe(10);
  expect(placeIn(['new', ...ROWS])).toBe(11);
  expect(placeIn(ROWS.slice(3))).toBe(7);
  expect(placeIn(ROWS.slice(10))).toBe(0);
  expect(placeIn(ROWS.filter((row) => row !== 'k'))).toBeUndefined();
});

test('only rows above the first one in view move those in view, also if it has left itself', () => {
  const movedIn = (rows: readonly string[]) => rowsAbove({ rows: ROWS, first: 10 }, { rows, rowKey });
  expect(movedIn(['new', 'newer', ...ROWS])).toBe(2);
  expect(movedIn([...ROWS.slice(0, 20), 'new', ...ROWS.slice(20)])).toBe(0);
  expect(movedIn(ROWS.filter((row) => row !== 'a' && row !== 'z'))).toBe(-1);
  expect(movedIn(ROWS.filter((row) => row !== 'a' && row !== 'k'))).toBe(-1);
  expect(movedIn(['of another filter'])).toBe(0);
});
