import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { cachedRead } from '../../src/lib/cached-read.ts';
import { waitFor } from '../support/wait-for.ts';

/** Reads that the test answers, in the order in which they began. */
function createReads() {
  const pending: { resolve: (value: number) => void; reject: (error: Error) => void }[] = [];
  let begun = 0;
  return {
    read: () => {
      begun += 1;
      return new Promise<number>((resolve, reject) => pending.push({ resolve, reject }));
    },
    begun: () => begun,
    answer: (value: number) => pending.shift()?.resolve(value),
    fail: () => pending.shift()?.reject(new Error('away')),
  };
}

const HOUR_MS = 3_600_000;

test('a value is read once for all concurrent calls, and not again while it is fresh', async () => {
  const { read, begun, answer } = createReads();
  const snapshot = cachedRead(read, { waitMs: HOUR_MS, freshMs: HOUR_MS, staleMs: 0 });
  const asked = [snapshot(), snapshot(), snapshot()];
  answer(1);
  expect(await Promise.all(asked)).toEqual([1, 1, 1]);
  expect(await snapshot()).toBe(1);
  expect(begun()).toBe(1);
});

test('a call returns undefined after waitMs, and later calls get the late value', async () => {
  const { read, begun, answer } = createReads();
  const snapshot = cachedRead(read, { waitMs: 10, freshMs: HOUR_MS, staleMs: 0 });
  expect(await snapshot()).toBeUndefined();
  expect(await snapshot()).toBeUndefined();
  expect(begun()).toBe(1);
  answer(7);
  await waitFor(async () => (await snapshot()) === 7, { what: 'the late answer' });
  expect(begun()).toBe(1);
});

test('a failed read returns undefined and is not repeated at once', async () => {
  const { read, begun, fail } = createReads();
  const snapshot = cachedRead(read, { waitMs: HOUR_MS, freshMs: HOUR_MS, staleMs: HOUR_MS });
  const asked = snapshot();
  fail();
  expect(await asked).toBeUndefined();
  expect(await snapshot()).toBeUndefined();
  expect(begun()).toBe(1);
});

test('without freshMs, each call reads, and a slow read returns no old value', async () => {
  const { read, begun, answer } = createReads();
  const snapshot = cachedRead(read, { waitMs: 10, freshMs: 0, staleMs: 0 });
  const asked = snapshot();
  answer(1);
  expect(await asked).toBe(1);
  expect(await snapshot()).toBeUndefined();
  expect(begun()).toBe(2);
});

test('with staleMs, the old value is returned for that time while it is read again', async () => {
  const { read, begun, answer, fail } = createReads();
  const snapshot = cachedRead(read, { waitMs: 10, freshMs: 1, staleMs: HOUR_MS });
  const asked = snapshot();
  answer(1);
  expect(await asked).toBe(1);
  await waitFor(async () => (await snapshot()) === 1 && begun() === 2, { what: 'the second read' });
  fail();
  await waitFor(async () => (await snapshot()) === undefined, { what: 'nothing to be known' });
});

test('after a slow read, the pause before the next read is longer', async () => {
  let begun = 0;
  const read = async () => {
    begun += 1;
    await delay(50);
    return begun;
  };
  const snapshot = cachedRead(read, { waitMs: HOUR_MS, freshMs: 1, staleMs: 0 });
  const startedAt = performance.now();
  await snapshot();
  await waitFor(async () => (await snapshot()) === 2, { what: 'the second read' });
  // The first read takes 50 ms, the pause 20 times as long, and the second read 50 ms.
  expect(performance.now() - startedAt).toBeGreaterThan(1_000);
});
