import { expect, test } from 'vitest';
import { median, summarise } from '../../bench/latency.ts';

const upTo = (count: number) => Array.from({ length: count }, (_, index) => count - index);

test('percentiles are by nearest rank, in any order of the values', () => {
  expect(summarise(upTo(1_000))).toEqual({ events: 1_000, p50: 500, p95: 950, p99: 990, max: 1_000 });
});

test('the high percentiles of few values are the largest value', () => {
  expect(summarise([3, 1, 2])).toEqual({ events: 3, p50: 2, p95: 3, p99: 3, max: 3 });
});

test('the percentiles of an empty list are NaN', () => {
  expect(summarise([])).toEqual({ events: 0, p50: Number.NaN, p95: Number.NaN, p99: Number.NaN, max: Number.NaN });
});

test.each([
  [[5], 5],
  [[9, 1, 2], 2],
  [[4, 1, 2, 10], 3],
])('the median of %j is %d', (values, expected) => {
  expect(median(values)).toBe(expected);
});
