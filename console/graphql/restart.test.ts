import type { Client as LiveClient, Sink } from 'graphql-ws';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { subscribeAgain } from './restart.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A client whose streams are driven by the test. */
function startStreams() {
  const sinks: Sink[] = [];
  const stops = vi.fn();
  const live = {
    subscribe: (_payload: unknown, sink: Sink) => {
      sinks.push(sink);
      return stops;
    },
  } as unknown as LiveClient;
  const reader = { next: vi.fn(), error: vi.fn(), complete: vi.fn() };
  const stop = subscribeAgain(live, { query: 'subscription { a }' }, reader);
  return { sinks, stops, reader, stop };
}

const errorOf = (code: string) => [{ message: 'failed', extensions: { code } }];

test('a stream that failed for a temporary reason begins again, later each time until it succeeds', async () => {
  const { sinks, reader, stop } = startStreams();
  sinks[0]?.error(errorOf('SERVICE_UNAVAILABLE'));
  await vi.advanceTimersByTimeAsync(999);
  expect(sinks).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(sinks).toHaveLength(2);
  sinks[1]?.error(new Event('close'));
  await vi.advanceTimersByTimeAsync(1_999);
  expect(sinks).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1);
  sinks[2]?.next({ data: { a: 1 } });
  sinks[2]?.error(errorOf('RATE_LIMITED'));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sinks).toHaveLength(4);
  expect(reader.next.mock.calls).toEqual([[{ data: { a: 1 } }]]);
  expect(reader.error).not.toHaveBeenCalled();
  stop();
  await vi.advanceTimersByTimeAsync(600_000);
  expect(sinks).toHaveLength(4);
});

test('the end of a stream, and an error that stays, end it', async () => {
  const ended = startStreams();
  ended.sinks[0]?.complete();
  const failed = startStreams();
  failed.sinks[0]?.error(errorOf('NOT_FOUND'));
  await vi.advanceTimersByTimeAsync(600_000);
  expect(ended.reader.complete).toHaveBeenCalledOnce();
  expect(failed.reader.error).toHaveBeenCalledWith(errorOf('NOT_FOUND'));
  expect([ended.sinks.length, failed.sinks.length]).toEqual([1, 1]);
});

test('a stopped stream is unsubscribed from, and its late end is not reported', async () => {
  const { sinks, stops, reader, stop } = startStreams();
  stop();
  expect(stops).toHaveBeenCalledOnce();
  sinks[0]?.complete();
  await vi.advanceTimersByTimeAsync(600_000);
  expect(sinks).toHaveLength(1);
  expect(reader.complete).not.toHaveBeenCalled();
});
