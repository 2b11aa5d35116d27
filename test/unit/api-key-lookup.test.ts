import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ApiKeyLookup } from '../../src/auth/api-keys.ts';

let nowMs = 0;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  // The cache keeps the object, which fake timers would replace.
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

it('the answer for a key is cached for 5 s, or until a revocation is announced', async () => {
  let reads = 0;
  const query = () => {
    reads += 1;
    return Promise.resolve({ rows: [], rowCount: 0 });
  };
  const lookup = new ApiKeyLookup({ query }, []);
  const readsAfter = async (ms: number) => {
    nowMs += ms;
    vi.advanceTimersByTime(ms);
    await lookup.find('a key');
    return reads;
  };
  expect(await readsAfter(1)).toBe(1);
  expect(await readsAfter(4_900)).toBe(1);
  expect(await readsAfter(200)).toBe(2);
  lookup.forgetAll();
  expect(await readsAfter(1)).toBe(3);
});
