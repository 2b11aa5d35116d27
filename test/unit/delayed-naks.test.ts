import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DelayedNaks } from '../../src/delivery/sending/redelivery.ts';
import type { JetStreamMessage } from '../../src/nats/connection.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** A message that notes with which delays it was put off. */
function message(delays: unknown[]): JetStreamMessage {
  // The rest of a message is nobody's business here.
  return { nak: (delayMs?: number) => void delays.push(delayMs) } as JetStreamMessage;
}

it('at most a thousand wait at a time, for a minute at most', () => {
  const waits = new DelayedNaks();
  const now = performance.now();
  expect(waits.reserve(now + 60_001, now)).toBe(false);
  for (let index = 0; index < 1_000; index += 1) expect(waits.reserve(now + 1_000 + index, now)).toBe(true);
  expect(waits.reserve(now + 1, now)).toBe(false);
  // One of them is over.
  expect(waits.reserve(now + 60_000, now + 1_000)).toBe(true);
  expect(waits.reserve(now + 60_000, now + 1_000)).toBe(false);
});

it('they are put off in bursts, four a second, for what is left of the wait in whole milliseconds', async () => {
  const waits = new DelayedNaks();
  const delays: unknown[] = [];
  const now = performance.now();
  waits.nakUntil(message(delays), now + 5_000.4);
  await vi.advanceTimersByTimeAsync(100);
  // One whose time has come by then: nats-server takes less than a millisecond for no delay.
  waits.nakUntil(message(delays), now + 200);
  expect(delays).toEqual([]);
  await vi.advanceTimersByTimeAsync(150);
  expect(delays).toEqual([4_751, 1]);
});

it('what has not been put off is when that is asked for', () => {
  const waits = new DelayedNaks();
  const delays: unknown[] = [];
  waits.nakUntil(message(delays), performance.now() + 1_000);
  waits.flush();
  waits.flush();
  expect(delays).toEqual([1_000]);
});
