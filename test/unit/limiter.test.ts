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

/** 'passed', 'refused' or 'waits', as things are now. */
async function settled(entering: Promise<boolean>): Promise<string> {
  let state = 'waits';
  void entering.then((passed) => {
    state = passed ? 'passed' : 'refused';
  });
  await vi.advanceTimersByTimeAsync(0);
  return state;
}

it('so many pass as may be in flight; the next one passes when one leaves', async () => {
  const gates = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  const entering = Array.from({ length: 4 }, () => gates.acquire(one('a'), 2));
  expect(await Promise.all(entering.map(settled))).toEqual(['passed', 'passed', 'waits', 'waits']);
  gates.release(one('a'));
  expect(await Promise.all(entering.map(settled))).toEqual(['passed', 'passed', 'passed', 'waits']);
});

it('what has waited for a second is refused, and does not take the turn of another', async () => {
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

it('where attempts end, a delivery waits for its turn longer than a second, and at most for five', async () => {
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

it('nobody has more than an eighth of the free places in flight, but always one', async () => {
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

it('half of the free places may wait at a gate where nothing moves; what comes then is refused at once', async () => {
  const places = new WeightedSemaphore(1_000);
  const gates = new SubscriptionLimiter(places);
  await places.acquire(980, signal);
  await gates.acquire(one('a'), 1);
  await vi.advanceTimersByTimeAsync(300);
  expect(await waitingAmong(gates, 12)).toBe(10);
});

it('where attempts end, each gate has its part also when no place is free, and twice that, but an eighth at most', async () => {
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

it('a limit that was raised counts from the next one on', async () => {
  const gates = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  const first = [gates.acquire(one('a'), 1), gates.acquire(one('a'), 1)];
  expect(await Promise.all(first.map(settled))).toEqual(['passed', 'waits']);
  const third = gates.acquire(one('a'), 3);
  gates.release(one('a'));
  expect(await Promise.all([...first, third].map(settled))).toEqual(['passed', 'passed', 'passed']);
});

it('half of the free places at most wait for their moment, and those of one subscription only for each other', async () => {
  const gates = new SubscriptionLimiter(new WeightedSemaphore(4));
  const wait = { waitMs: 500, signal };
  const waiting = [
    gates.waitForSlot(one('a'), wait),
    gates.waitForSlot(one('a'), wait),
    gates.waitForSlot(one('a'), wait),
    gates.waitForSlot(one('b'), wait),
  ];
  expect(await Promise.all(waiting.map(settled))).toEqual(['waits', 'waits', 'refused', 'waits']);
  expect(await settled(gates.waitForSlot(one('a'), { ...wait, waitMs: 0 }))).toBe('passed');
  await vi.advanceTimersByTimeAsync(500);
  expect(await Promise.all(waiting)).toEqual([true, true, false, true]);
  expect(await settled(gates.waitForSlot(one('a'), wait))).toBe('waits');
});

it('what takes many places counts for as many: in flight, waiting before the gate, and waiting for its moment', async () => {
  const gates = new SubscriptionLimiter(new WeightedSemaphore(1_000));
  const count = async (entering: readonly Promise<boolean>[], state: string) =>
    (await Promise.all(entering.map(settled))).filter((one) => one === state).length;
  const entering = Array.from({ length: 60 }, () => gates.acquire(large('a'), 100));
  // An eighth of 1,000 places are 125, the half 500: the last one that fits may go beyond.
  expect(await count(entering, 'passed')).toBe(8);
  expect(await count(entering, 'waits')).toBe(32);
  gates.release(large('a'));
  expect(await count(entering, 'passed')).toBe(9);
  const pacing = Array.from({ length: 60 }, () => gates.waitForSlot(large('b'), { waitMs: 500, signal }));
  expect(await count(pacing, 'waits')).toBe(32);
});

it('the endpoints of one tenant, however many hang, leave an eighth of the places to others', async () => {
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

it('tells when a delivery begins to wait for its limit, and whether any does', async () => {
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
