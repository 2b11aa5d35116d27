import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createPushedRows } from './pushed-rows.ts';

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('window', globalThis);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('pushed rows are collected, a thousand are shown at once, and each key has its newest state', () => {
  const rows = createPushedRows<number>();
  const onChange = vi.fn();
  rows.subscribe(onChange);
  rows.add('a', 1);
  rows.add('a', 2);
  expect(rows.get().size).toBe(0);
  vi.advanceTimersByTime(1_000);
  expect([...rows.get()]).toEqual([['a', 2]]);
  for (let index = 0; index < 1_000; index += 1) rows.add(`row-${index}`, index);
  expect(rows.get().size).toBe(1_001);
  expect(onChange).toHaveBeenCalledTimes(2);
  rows.add('late', 3);
  rows.clear();
  vi.advanceTimersByTime(1_000);
  expect(rows.get().size).toBe(0);
});
