import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { SubscriptionLimiter } from '../../src/delivery/sending/limiter.ts';
import { WeightedSemaphore } from '../../src/lib/semaphore.ts';

const { signal } = new AbortController();
const one = (subscriptionId: string, tenant = 'acme') => ({ delivery: { subscriptionId, tenant }, permits: 1 });
const large = (subscriptionId: string) => ({ delivery: { subscriptionId, tenant: 'acme' }, permits: 16 });

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** The current state of a call: 'passed', 'refused' or 'waits'. */
async function settled(entering: Promise<boolean>): Promise<string> {
  let state = 'waits';
  void entering.then((passed) => {
    state = passed ? 'passed' : 'refused';
  });
  await vi.advanceTimersByTimeAsync(0);
  return state;
}

it('deliveries pass up to the in-flight limit; the next one passes after a release', async () => {
  const gates = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  const entering = Array.from({ length: 4 }, () => gates.acquire(one('a'), 2));
  expect(await Promise.all(entering.map(settled))).toEqual(['passed', 'passed', 'waits', 'waits']);
  gates.release(one('a'));
  expect(await Promise.all(entering.map(settled))).toEqual(['passed', 'passed', 'passed', 'waits']);
});

it('a delivery that has waited for a second is refused, and a later one gets the next permit', async () => {
  const gates = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  expect(await settled(gates.acquire(one('a'), 1))).toBe('passed');
  const first = gates.acquire(one('a'), 1);
  await vi.advanceTimersByTimeAsync(500);
  const second = gates.acquire(one('a'), 1);
  await vi.advanceTimersByTimeAsync(500);
  expect(await settled(first)).toBe('refused');
  expect(await settled(second)).toBe('waits');
  gates.release(one('a'));
  expect(await settled(second)).toBe('passed');
});

it('while attempts complete, a delivery waits longer than a second, and at most five', async () => {
  const gates = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  await gates.acquire(one('a'), 1);
  const waiting = Array.from({ length: 8 }, () => gates.acquire(one('a'), 1));
  for (let second = 0; second < 4; second += 1) {
    await vi.advanceTimersByTimeAsync(900);
    gates.release(one('a'));
  }
  expect(await Promise.all(waiting.map(settled))).toEqual([
    ...Array.from({ length: 4 }, () => 'passed'),
    ...Array.from({ length: 4 }, () => 'waits'),
  ]);
  await vi.advanceTimersByTimeAsync(1_400);
  expect(await Promise.all(waiting.slice(4).map(settled))).toEqual(Array.from({ length: 4 }, () => 'refused'));
});

it('subscriptions do not wait for each other', async () => {
  const gates = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  const entering = ['a', 'a', 'b'].map((id) => gates.acquire(one(id), 1));
  expect(await Promise.all(entering.map(settled))).toEqual(['passed', 'waits', 'passed']);
});

it('a subscription has at most an eighth of the free permits in flight, but always one delivery', async () => {
  const places = new WeightedSemaphore(1_000);
  const gates = new SubscriptionLimiter(places);
  await places.acquire(960, signal);
  const entering = Array.from({ length: 6 }, () => gates.acquire(one('a'), 100));
  expect(await Promise.all(entering.map(settled))).toEqual([...Array.from({ length: 5 }, () => 'passed'), 'waits']);
  await places.acquire(40, signal);
  expect(await settled(gates.acquire(one('b'), 100))).toBe('passed');
});

async function waitingAmong(gates: SubscriptionLimiter, count: number): Promise<number> {
  const entering = Array.from({ length: count }, () => gates.acquire(one('a'), 1));
  const states = await Promise.all(entering.map(settled));
  return states.filter((state) => state === 'waits').length;
}

it('deliveries of a stalled endpoint wait with half of the free permits at most; others are refused at once', async () => {
  const places = new WeightedSemaphore(1_000);
  const gates = new SubscriptionLimiter(places);
  await places.acquire(980, signal);
  await gates.acquire(one('a'), 1);
  await vi.advanceTimersByTimeAsync(300);
  expect(await waitingAmong(gates, 12)).toBe(10);
});

it('without free permits, a subscription whose attempts complete may use twice its share, at most an eighth', async () => {
  const places = new WeightedSemaphore(1_000);
  const gates = new SubscriptionLimiter(places);
  await places.acquire(1_000, signal);
  for (const id of ['a', ...Array.from({ length: 99 }, (_, index) => `other-${index}`)])
    await gates.acquire(one(id), 1);
  expect(await waitingAmong(gates, 30)).toBe(20);
  await vi.advanceTimersByTimeAsync(300);
  expect(await waitingAmong(gates, 1)).toBe(0);
  gates.release(one('a'));
  expect(await waitingAmong(gates, 9)).toBe(1);
  for (let index = 0; index < 99; index += 1) gates.release(one(`other-${index}`));
  expect(await waitingAmong(gates, 200)).toBe(125 - 20);
});

it('a raised limit applies from the next delivery', async () => {
  const gates = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  const first = [gates.acquire(one('a'), 1), gates.acquire(one('a'), 1)];
  expect(await Promise.all(first.map(settled))).toEqual(['passed', 'waits']);
  const third = gates.acquire(one('a'), 3);
  gates.release(one('a'));
  expect(await Promise.all([...first, third].map(settled))).toEqual(['passed', 'passed', 'passed']);
});

it('at most half of the free permits wait for send times, and a subscription waits only for its own', async () => {
  const gates = new SubscriptionLimiter(new WeightedSemaphore(4));
  const wait = { waitMs: 500, signal };
  const waiting = [
    gates.waitForSendTime(one('a'), wait),
    gates.waitForSendTime(one('a'), wait),
    gates.waitForSendTime(one('a'), wait),
    gates.waitForSendTime(one('b'), wait),
  ];
  expect(await Promise.all(waiting.map(settled))).toEqual(['waits', 'waits', 'refused', 'waits']);
  expect(await settled(gates.waitForSendTime(one('a'), { ...wait, waitMs: 0 }))).toBe('passed');
  await vi.advanceTimersByTimeAsync(500);
  expect(await Promise.all(waiting)).toEqual([true, true, false, true]);
  expect(await settled(gates.waitForSendTime(one('a'), wait))).toBe('waits');
});

it('a large delivery counts with all its permits: in flight, and waiting for the limit or for its send time', async () => {
  const gates = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  const count = async (entering: readonly Promise<boolean>[], state: string) =>
    (await Promise.all(entering.map(settled))).filter((one) => one === state).length;
  const entering = Array.from({ length: 60 }, () => gates.acquire(large('a'), 100));
  // An eighth of 1,000 permits is 125, half is 500. The last delivery that starts below the limit may exceed it.
  expect(await count(entering, 'passed')).toBe(8);
  expect(await count(entering, 'waits')).toBe(32);
  gates.release(large('a'));
  expect(await count(entering, 'passed')).toBe(9);
  const pacing = Array.from({ length: 60 }, () => gates.waitForSendTime(large('b'), { waitMs: 500, signal }));
  expect(await count(pacing, 'waits')).toBe(32);
});

it('the hanging endpoints of one tenant leave an eighth of the permits to other tenants', async () => {
  const places = new WeightedSemaphore(1_000);
  const gates = new SubscriptionLimiter(places);
  const enter = async (tenant: string, number: number) => {
    await places.acquire(1, signal);
    const state = await settled(gates.acquire(one(`${tenant}-${number}`, tenant), 1));
    if (state === 'refused') places.release(1);
    return state;
  };
  const states = [];
  for (let number = 0; number < 1_000; number += 1) states.push(await enter('loud', number));
  expect(states.filter((state) => state === 'passed')).toHaveLength(875);
  expect(states.filter((state) => state === 'refused')).toHaveLength(125);
  expect(await enter('quiet', 1)).toBe('passed');
  gates.release(one('loud-1', 'loud'));
  places.release(1);
  expect(await enter('loud', 1_000)).toBe('passed');
});

it('reports when a delivery starts to wait for its limit, and whether any delivery waits', async () => {
  const onWait = vi.fn();
  const limiter = new SubscriptionLimiter(new WeightedSemaphore(1_000), { onWait });
  await limiter.acquire(one('a'), 1);
  expect({ calls: onWait.mock.calls.length, isContended: limiter.isContended }).toEqual({
    calls: 0,
    isContended: false,
  });
  const next = limiter.acquire(one('a'), 1);
  const refused = limiter.acquire(one('a'), 1);
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
