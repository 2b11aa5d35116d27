import { expect, test } from 'vitest';
import { hasGroups, prunedTree, rowsOf, typeMatcher, typeTree } from './type-tree.ts';

const NAMES = ['order.created', 'order.refund.failed', 'order.refund.paid', 'order', 'order-x', 'NEW_MESSAGE'];
const MORE = [
  ...NAMES,
  'billing.invoice.sent',
  'billing.invoice.paid',
  'user.profile.changed',
  '__proto__.a',
  'a.__proto__',
];
const entriesOf = (names: readonly string[]) => names.map((name) => ({ name, description: `About ${name}` }));

/** A line for each row: indented, a group with its number of types. */
function linesOf(tree: ReturnType<typeof prunedTree>, isOpen?: (prefix: string) => boolean): string[] {
  return rowsOf(tree, isOpen).map(
    ({ level, label, group }) =>
      '  '.repeat(level - 1) + (group === undefined ? label : `${label} ${group.entries.length}`),
  );
}

test('types are grouped by prefix; a single type or group below a prefix is shown joined', () => {
  expect(linesOf(typeTree(entriesOf(MORE)))).toEqual([
    'NEW_MESSAGE',
    '__proto__.a',
    'a.__proto__',
    'billing.invoice.* 2',
    '  paid',
    '  sent',
    'order',
    'order.* 3',
    '  created',
    '  refund.* 2',
    '    failed',
    '    paid',
    'order-x',
    'user.profile.changed',
  ]);
});

test('a closed group hides what is in it, and its key is its pattern', () => {
  const tree = typeTree(entriesOf(NAMES));
  expect(linesOf(tree, (prefix) => prefix === 'order.')).toEqual([
    ...['NEW_MESSAGE', 'order', 'order.* 3', '  created', '  refund.* 2', 'order-x'],
  ]);
  expect(rowsOf(tree, () => false).map(({ key }) => key)).toEqual(['NEW_MESSAGE', 'order', 'order.*', 'order-x']);
});

test('a filter keeps the groups of the types that it finds, by name, prefix or description', () => {
  const tree = typeTree(entriesOf(NAMES));
  const found = (text: string) => linesOf(prunedTree(tree, typeMatcher(text)));
  expect(found('FAILED')).toEqual(['order.* 1', '  refund.* 1', '    failed']);
  expect(found('order.ref.*')).toEqual([]);
  expect(found(' order.refund.* ')).toEqual(['order.* 2', '  refund.* 2', '    failed', '    paid']);
  expect(found('about new')).toEqual(['NEW_MESSAGE']);
});

test('types without common prefixes are a list', () => {
  expect(hasGroups(typeTree(entriesOf(['A', 'B', 'c.d', 'e.f'])))).toBe(false);
  expect(hasGroups(typeTree(entriesOf(NAMES)))).toBe(true);
});

test('a catalogue of the greatest size and depth is a tree', () => {
  const parts = Array.from({ length: 128 }, () => 'a');
  const deep = parts.map((_, index) => parts.slice(0, index + 1).join('.'));
  const wide = Array.from({ length: 1_872 }, (_, index) => `service${index % 40}.object${index % 400}.event${index}`);
  const rows = rowsOf(typeTree(entriesOf([...deep, ...wide])));
  expect(rows.filter(({ entry }) => entry !== undefined)).toHaveLength(2_000);
  expect(Math.max(...rows.map(({ level }) => level))).toBe(127);
});
