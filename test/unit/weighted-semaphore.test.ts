import { expect, it } from 'vitest';
import { WeightedSemaphore } from '../../src/lib/semaphore.ts';

/** Whether a promise has settled after one turn of the event loop. */
async function hasSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  void promise.then(() => {
    settled = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

it('permits are acquired until none are free, and again after a release', async () => {
  const semaphore = new WeightedSemaphore(3);
  const { signal } = new AbortController();
  await semaphore.acquire(2, signal);
  expect(semaphore.free).toBe(1);
  const waiting = semaphore.acquire(2, signal);
  expect(await hasSettled(waiting)).toBe(false);
  semaphore.release(2);
  expect(await hasSettled(waiting)).toBe(true);
  expect(semaphore.free).toBe(1);
});

it('an aborted wait takes no permit', async () => {
  const semaphore = new WeightedSemaphore(1);
  const stopping = new AbortController();
  await semaphore.acquire(1, stopping.signal);
  const waiting = semaphore.acquire(1, stopping.signal);
  stopping.abort();
  await waiting;
  semaphore.release(1);
  expect(semaphore.free).toBe(1);
  await semaphore.acquire(1, stopping.signal);
  expect(semaphore.free).toBe(1);
});

it('the waiters that fit get their permits', async () => {
  const semaphore = new WeightedSemaphore(2);
  const { signal } = new AbortController();
  await semaphore.acquire(2, signal);
  const [large, small] = [semaphore.acquire(2, signal), semaphore.acquire(1, signal)];
  semaphore.release(1);
  expect(await hasSettled(large)).toBe(false);
  expect(await hasSettled(small)).toBe(true);
  semaphore.release(1);
  expect(await hasSettled(large)).toBe(false);
  semaphore.release(1);
  expect(await hasSettled(large)).toBe(true);
  expect(semaphore.free).toBe(0);
});
