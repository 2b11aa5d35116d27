import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DelayedNaks } from '../../src/delivery/sending/redelivery.ts';
import type { JetStreamMessage } from '../../src/nats/connection.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

// `as`: DelayedNaks only passes the message to its callback.
const message = {} as JetStreamMessage;

/** DelayedNaks, and the delays of the sent naks. */
function createNaks() {
  const delays: number[] = [];
  return { naks: new DelayedNaks((_message, delayMs) => void delays.push(delayMs)), delays };
}

it('at most a thousand waits of at most a minute are reserved at a time, and a hundred that users requested', () => {
  const { naks } = createNaks();
  const now = performance.now();
  expect(naks.reserve(now + 60_001, now)).toBe(false);
  for (let index = 0; index < 1_000; index += 1) expect(naks.reserve(now + 1_000 + index, now)).toBe(true);
  expect(naks.reserve(now + 1, now)).toBe(false);
  for (let index = 0; index < 100; index += 1) expect(naks.reserve(now + 1, now, 'requested')).toBe(true);
  expect(naks.reserve(now + 1, now, 'requested')).toBe(false);
  // The wait until now + 1,000 has ended.
  expect(naks.reserve(now + 60_000, now + 1_000)).toBe(true);
  expect(naks.reserve(now + 60_000, now + 1_000)).toBe(false);
});

it('naks are sent in bursts, four a second, with the rest of their delay in whole milliseconds', async () => {
  const { naks, delays } = createNaks();
  const now = performance.now();
  naks.nakUntil(message, now + 5_000.4);
  await vi.advanceTimersByTimeAsync(100);
  // Due before the burst: nats-server treats less than a millisecond as no delay.
  naks.nakUntil(message, now + 200);
  expect(delays).toEqual([]);
  await vi.advanceTimersByTimeAsync(150);
  expect(delays).toEqual([4_751, 1]);
});

it('flush() sends the pending naks, each once', () => {
  const { naks, delays } = createNaks();
  naks.nakUntil(message, performance.now() + 1_000);
  naks.flush();
  naks.flush();
  expect(delays).toEqual([1_000]);
});
