import { expect, test } from 'vitest';
import { lineDiff } from './line-diff.ts';

const shown = (before: string, after: string) =>
  lineDiff(before, after).map(({ kind, text }) => `${{ same: ' ', removed: '-', added: '+' }[kind]}${text}`);

test('changed lines are removed, then added, between the lines that stay', () => {
  expect(shown('a\nb\nc\nd', 'a\nx\nc\nd\ne')).toEqual([' a', '-b', '+x', ' c', ' d', '+e']);
  expect(shown('a', 'a')).toEqual([' a']);
  expect(shown('a\nb', 'b')).toEqual(['-a', ' b']);
  expect(shown('a', 'b')).toEqual(['-a', '+b']);
  expect(shown('', 'a')).toEqual(['+a']);
  expect(shown('a', '')).toEqual(['-a']);
});

test('the two texts can be read from the lines', () => {
  const [before, after] = ['a\nb\na\nc\nb\nd', 'b\na\nc\na\nd\nb'];
  const lines = lineDiff(before, after);
  const without = (kind: string) => lines.filter((line) => line.kind !== kind).map(({ text }) => text);
  expect(without('added').join('\n')).toBe(before);
  expect(without('removed').join('\n')).toBe(after);
});

test('texts with thousands of different lines are compared as a whole', () => {
  const many = (name: string) => Array.from({ length: 5_000 }, (_, index) => `${name}${index}`).join('\n');
  expect(lineDiff(many('a'), many('b'))).toHaveLength(10_000);
});
