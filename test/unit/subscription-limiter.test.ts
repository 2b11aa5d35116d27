import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { SubscriptionLimiter } from '../../src/delivery/sending/subscription-limiter.ts';
import { WeightedSemaphore } from '../../src/lib/semaphore.ts';

const { signal } = new AbortController();
const one = (subscriptionId: string, tenant = 'acme') => ({ delivery: { subscriptionId, tenant }, permits: 1 });
const upTo = (maxInFlight: number) => ({ maxInFlight, rateLimitPerSecond: null });
const large = (subscriptionId: string) => ({ delivery: { subscriptionId, tenant: 'acme' }, permits: 16 });

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** The current state of a call: 'passed', 'refused' or 'waits'. */
async function settled(acquiring: Promise<boolean>): Promise<string> {
  let state = 'waits';
  void acquiring.then((passed) => {
    state = passed ? 'passed' : 'refused';
  });
  await vi.advanceTimersByTimeAsync(0);
  return state;
}

it('deliveries pass up to the in-flight limit; the next one passes after a release', async () => {
  const limiter = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  const acquiring = Array.from({ length: 4 }, () => limiter.acquire(one('a'), upTo(2)));
  expect(await Promise.all(acquiring.map(settled))).toEqual(['passed', 'passed', 'waits', 'waits']);
  limiter.release(one('a'));
  expect(await Promise.all(acquiring.map(settled))).toEqual(['passed', 'passed', 'passed', 'waits']);
});

it('a delivery that has waited for a second is refused, and a later one gets the next permit', async () => {
  const limiter = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  expect(await settled(limiter.acquire(one('a'), upTo(1)))).toBe('passed');
  const first = limiter.acquire(one('a'), upTo(1));
  await vi.advanceTimersByTimeAsync(500);
  const second = limiter.acquire(one('a'), upTo(1));
  await vi.advanceTimersByTimeAsync(500);
  expect(await settled(first)).toBe('refused');
  expect(await settled(second)).toBe('waits');
  limiter.release(one('a'));
  expect(await settled(second)).toBe('passed');
});

it('a delivery whose send time has passed waits for one second even while attempts complete', async () => {
  const limiter = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  const limits = { maxInFlight: 1, rateLimitPerSecond: 10 };
  await limiter.acquire(one('a'), limits);
  const waiting = [limiter.acquire(one('a'), limits), limiter.acquire(one('a'), limits)];
  await vi.advanceTimersByTimeAsync(900);
  limiter.release(one('a'));
  await vi.advanceTimersByTimeAsync(100);
  expect(await Promise.all(waiting.map(settled))).toEqual(['passed', 'refused']);
});

it('while attempts complete, a delivery waits longer than a second, and at most five', async () => {
  const limiter = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  await limiter.acquire(one('a'), upTo(1));
  const waiting = Array.from({ length: 8 }, () => limiter.acquire(one('a'), upTo(1)));
  for (let second = 0; second < 4; second += 1) {
    await vi.advanceTimersByTimeAsync(900);
    limiter.release(one('a'));
  }
  expect(await Promise.all(waiting.map(settled))).toEqual([
    ...Array.from({ length: 4 }, () => 'passed'),
    ...Array.from({ length: 4 }, () => 'waits'),
  ]);
  await vi.advanceTimersByTimeAsync(1_400);
  expect(await Promise.all(waiting.slice(4).map(settled))).toEqual(Array.from({ length: 4 }, () => 'refused'));
});

it('subscriptions do not wait for each other', async () => {
  const limiter = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  const acquiring = ['a', 'a', 'b'].map((id) => limiter.acquire(one(id), upTo(1)));
  expect(await Promise.all(acquiring.map(settled))).toEqual(['passed', 'waits', 'passed']);
});

it('a subscription has at most an eighth of the free permits in flight, but always one delivery', async () => {
  const permits = new WeightedSemaphore(1_000);
  const limiter = new SubscriptionLimiter(permits);
  await permits.acquire(960, signal);
  const acquiring = Array.from({ length: 6 }, () => limiter.acquire(one('a'), upTo(100)));
  expect(await Promise.all(acquiring.map(settled))).toEqual([...Array.from({ length: 5 }, () => 'passed'), 'waits']);
  await permits.acquire(40, signal);
  expect(await settled(limiter.acquire(one('b'), upTo(100)))).toBe('passed');
});

async function waitingAmong(limiter: SubscriptionLimiter, count: number): Promise<number> {
  const acquiring = Array.from({ length: count }, () => limiter.acquire(one('a'), upTo(1)));
  const states = await Promise.all(acquiring.map(settled));
  return states.filter((state) => state === 'waits').length;
}

it('deliveries of a stalled endpoint wait with half of the free permits at most; others are refused at once', async () => {
  const permits = new WeightedSemaphore(1_000);
  const limiter = new SubscriptionLimiter(permits);
  await permits.acquire(980, signal);
  await limiter.acquire(one('a'), upTo(1));
  await vi.advanceTimersByTimeAsync(300);
  expect(await waitingAmong(limiter, 12)).toBe(10);
});

it('without free permits, a subscription whose attempts complete may use twice its share, at most an eighth', async () => {
  const permits = new WeightedSemaphore(1_000);
  const limiter = new SubscriptionLimiter(permits);
  await permits.acquire(1_000, signal);
  for (const id of ['a', ...Array.from({ length: 99 }, (_, index) => `other-${index}`)])
    await limiter.acquire(one(id), upTo(1));
  expect(await waitingAmong(limiter, 30)).toBe(20);
  await vi.advanceTimersByTimeAsync(300);
  expect(await waitingAmong(limiter, 1)).toBe(0);
  limiter.release(one('a'));
  expect(await waitingAmong(limiter, 9)).toBe(1);
  for (let index = 0; index < 99; index += 1) limiter.release(one(`other-${index}`));
  expect(await waitingAmong(limiter, 200)).toBe(125 - 20);
});

it('a raised limit applies from the next delivery', async () => {
  const limiter = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  const first = [limiter.acquire(one('a'), upTo(1)), limiter.acquire(one('a'), upTo(1))];
  expect(await Promise.all(first.map(settled))).toEqual(['passed', 'waits']);
  const third = limiter.acquire(one('a'), upTo(3));
  limiter.release(one('a'));
  expect(await Promise.all([...first, third].map(settled))).toEqual(['passed', 'passed', 'passed']);
});

it('at most half of the free permits wait for send times, and a subscription waits only for its own', async () => {
  const limiter = new SubscriptionLimiter(new WeightedSemaphore(4));
  const wait = { waitMs: 500, signal };
  const waiting = [
    limiter.waitForSendTime(one('a'), wait),
    limiter.waitForSendTime(one('a'), wait),
    limiter.waitForSendTime(one('a'), wait),
    limiter.waitForSendTime(one('b'), wait),
  ];
  expect(await Promise.all(waiting.map(settled))).toEqual(['waits', 'waits', 'refused', 'waits']);
  expect(await settled(limiter.waitForSendTime(one('a'), { ...wait, waitMs: 0 }))).toBe('passed');
  await vi.advanceTimersByTimeAsync(500);
  expect(await Promise.all(waiting)).toEqual([true, true, false, true]);
  expect(await settled(limiter.waitForSendTime(one('a'), wait))).toBe('waits');
});

it('a large delivery counts with all its permits: in flight, and waiting for the limit or for its send time', async () => {
  const limiter = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  const count = async (acquiring: readonly Promise<boolean>[], state: string) =>
    (await Promise.all(acquiring.map(settled))).filter((one) => one === state).length;
  const acquiring = Array.from({ length: 60 }, () => limiter.acquire(large('a'), upTo(100)));
  // An eighth of 1,000 permits is 125, half is 500. The last delivery that starts below the limit may exceed it.
  expect(await count(acquiring, 'passed')).toBe(8);
  expect(await count(acquiring, 'waits')).toBe(32);
  limiter.release(large('a'));
  expect(await count(acquiring, 'passed')).toBe(9);
  const pacing = Array.from({ length: 60 }, () => limiter.waitForSendTime(large('b'), { waitMs: 500, signal }));
  expect(await count(pacing, 'waits')).toBe(32);
});

it('the hanging endpoints of one tenant leave an eighth of the permits to other tenants', async () => {
  const permits = new WeightedSemaphore(1_000);
  const limiter = new SubscriptionLimiter(permits);
  const enter = async (tenant: string, number: number) => {
    await permits.acquire(1, signal);
    const state = await settled(limiter.acquire(one(`${tenant}-${number}`, tenant), upTo(1)));
    if (state === 'refused') permits.release(1);
    return state;
  };
  const states = [];
  for (let number = 0; number < 1_000; number += 1) states.push(await enter('loud', number));
  expect(states.filter((state) => state === 'passed')).toHaveLength(875);
  expect(states.filter((state) => state === 'refused')).toHaveLength(125);
  expect(await enter('quiet', 1)).toBe('passed');
  limiter.release(one('loud-1', 'loud'));
  permits.release(1);
  expect(await enter('loud', 1_000)).toBe('passed');
});

it('reports when a delivery starts to wait for its limit, and whether any delivery waits', async () => {
  const onWait = vi.fn();
  const limiter = new SubscriptionLimiter(new WeightedSemaphore(1_000), { onWait });
  await limiter.acquire(one('a'), upTo(1));
  expect({ calls: onWait.mock.calls.length, isContended: limiter.isContended }).toEqual({
    calls: 0,
    isContended: false,
  });
  const next = limiter.acquire(one('a'), upTo(1));
  const refused = limiter.acquire(one('a'), upTo(1));
  expect({ calls: onWait.mock.calls.length, isContended: limiter.isContended }).toEqual({
    calls: 2,
    isContended: true,
  });
  limiter.release(one('a'));
  await next;
  expect(limiter.isContended).toBe(true);
  await vi.advanceTimersByTimeAsync(2_000);
  expect({ refused: await refused, isContended: limiter.isContended }).toEqual({ refused: false, isContended: false });
});
