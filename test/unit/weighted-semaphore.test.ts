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
  const places = new WeightedSemaphore(3);
  const { signal } = new AbortController();
  await places.acquire(2, signal);
  expect(places.free).toBe(1);
  const waiting = places.acquire(2, signal);
  expect(await hasSettled(waiting)).toBe(false);
  places.release(2);
  expect(await hasSettled(waiting)).toBe(true);
  expect(places.free).toBe(1);
});

it('an aborted wait takes no permit', async () => {
  const places = new WeightedSemaphore(1);
  const stopping = new AbortController();
  await places.acquire(1, stopping.signal);
  const waiting = places.acquire(1, stopping.signal);
  stopping.abort();
  await waiting;
  places.release(1);
  expect(places.free).toBe(1);
  await places.acquire(1, stopping.signal);
  expect(places.free).toBe(1);
});

it('the waiters that fit get their permits', async () => {
  const places = new WeightedSemaphore(2);
  const { signal } = new AbortController();
  await places.acquire(2, signal);
  const [large, small] = [places.acquire(2, signal), places.acquire(1, signal)];
  places.release(1);
  expect(await hasSettled(large)).toBe(false);
  expect(await hasSettled(small)).toBe(true);
  places.release(1);
  expect(await hasSettled(large)).toBe(false);
  places.release(1);
  expect(await hasSettled(large)).toBe(true);
  expect(places.free).toBe(0);
});
