import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { ServerHealth } from '../../src/schema/server.ts';
import { HealthFeed } from '../../src/server/health-feed.ts';

const READY: ServerHealth = { isReady: true, parts: [{ name: 'nats', ok: true }] };
const BROKEN: ServerHealth = { isReady: false, parts: [{ name: 'nats', ok: false, message: 'NATS is disconnected' }] };

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function startFeed() {
  let health = READY;
  const check = vi.fn(() => Promise.resolve(structuredClone(health)));
  const stopping = new AbortController();
  const feed = new HealthFeed(check);
  return {
    check,
    stopping,
    feed,
    watch: () => feed.watch(stopping.signal),
    become: (next: ServerHealth) => {
      health = next;
    },
  };
}

const DONE = { done: true, value: undefined };

test('the state now is yielded, then each change, and an unread change is replaced', async () => {
  const { watch, become } = startFeed();
  const states = watch();
  expect(await states.next()).toEqual({ done: false, value: READY });
  let isSettled = false;
  const next = states.next().finally(() => {
    isSettled = true;
  });
  await vi.advanceTimersByTimeAsync(5_000);
  expect(isSettled).toBe(false);
  become(BROKEN);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await next).toEqual({ done: false, value: BROKEN });
  become(READY);
  await vi.advanceTimersByTimeAsync(1_000);
  become(BROKEN);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await states.next()).toEqual({ done: false, value: BROKEN });
});

test('all watchers share one check a second, and without a watcher there is none', async () => {
  const { watch, check } = startFeed();
  const watches = [watch(), watch(), watch()];
  await vi.advanceTimersByTimeAsync(3_500);
  expect(check).toHaveBeenCalledTimes(4);
  for (const each of watches) await each.return?.();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(check).toHaveBeenCalledTimes(4);
  expect(vi.getTimerCount()).toBe(0);
  const again = watch();
  expect(await again.next()).toEqual({ done: false, value: READY });
});

test('a reader that leaves, and the stop of the server, end the stream at once', async () => {
  const { watch, stopping, check } = startFeed();
  const [left, stopped] = [watch(), watch()];
  const pending = [left, stopped].map(async (each) => {
    await each.next();
    return each.next();
  });
  await vi.advanceTimersByTimeAsync(0);
  expect(await left.return?.()).toEqual(DONE);
  expect(await pending[0]).toEqual(DONE);
  stopping.abort();
  expect(await pending[1]).toEqual(DONE);
  await vi.advanceTimersByTimeAsync(5_000);
  const checks = check.mock.calls.length;
  expect(await watch().next()).toEqual(DONE);
  expect(check).toHaveBeenCalledTimes(checks);
});

test('a stop waits for the check in progress', async () => {
  const { watch, check, feed } = startFeed();
  let answer: (health: ServerHealth) => void = () => undefined;
  check.mockImplementationOnce(
    () =>
      new Promise((resolve) => {
        answer = resolve;
      }),
  );
  const states = watch();
  let hasStopped = false;
  const stopped = feed.stop().then(() => {
    hasStopped = true;
  });
  await vi.advanceTimersByTimeAsync(5_000);
  expect(hasStopped).toBe(false);
  answer(READY);
  await stopped;
  await states.return?.();
});

test('a later watcher gets the known state at once', async () => {
  const { watch, check } = startFeed();
  await watch().next();
  expect(await watch().next()).toEqual({ done: false, value: READY });
  expect(check).toHaveBeenCalledOnce();
});
