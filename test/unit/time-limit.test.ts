import { expect, it } from 'vitest';
import { withTimeLimit } from '../../src/lib/time-limit.ts';

it('work within the time limit returns its result, even undefined, or throws its error', () => {
  expect(withTimeLimit(1_000, () => 7)).toBe(7);
  expect(withTimeLimit<unknown>(1_000, () => undefined)).toBeUndefined();
  const error = new RangeError('mine');
  expect(() =>
    withTimeLimit(1_000, () => {
      throw error;
    }),
  ).toThrow(error);
});

const loopEndlessly = (): void => {
  for (let count = 0; count >= 0; count = (count + 1) % 1_000);
};
const tryEveryCombination = (): boolean => /^(a+)+$/.test(`${'a'.repeat(60)}b`);

it.each([
  ['an endless loop', loopEndlessly],
  ['a regular expression that tries every combination', tryEveryCombination],
])('%s is stopped, and the next work runs', (_, work) => {
  expect(() => {
    withTimeLimit(50, work);
  }).toThrow('timed out');
  expect(withTimeLimit(1_000, () => 'next')).toBe('next');
});
