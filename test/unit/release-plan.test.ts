import { describe, expect, it } from 'vitest';
import { changeAfter, planRelease } from '../../src/delivery/queue/release-plan.ts';
import type { DueQueue } from '../../src/delivery/queue/state.ts';

const NO_LIMIT = 1_000;

function queue(settings: Partial<DueQueue> = {}): DueQueue {
  return {
    subscriptionId: 'a',
    tenant: 'acme',
    isActive: true,
    maxInFlight: 10,
    rateLimitPerSecond: null,
    isBacklogged: false,
    publishWindow: null,
    liveCount: 0,
    expectedCount: settings.liveCount ?? 0,
    probe: null,
    nextSendInMs: 0,
    pausedForMs: null,
    ...settings,
  };
}

describe('without a backlog', () => {
  it('eight times the in-flight limit is released, and the next sweep for the rest is soon', () => {
    expect(planRelease(queue(), NO_LIMIT)).toMatchObject({ count: 80, isProbe: false, recheckMs: 50 });
  });

  it('no more than the limit of the round is released', () => {
    expect(planRelease(queue(), 7).count).toBe(7);
  });

  it('an inactive subscription gets nothing, not even a probe', () => {
    expect(planRelease(queue({ isActive: false }), NO_LIMIT).count).toBe(0);
    expect(planRelease(queue({ isActive: false, probe: { inMs: -1, waitMs: 1 } }), NO_LIMIT).count).toBe(0);
  });
});

describe('with a backlog', () => {
  const backlogged = (settings: Partial<DueQueue>) => planRelease(queue({ isBacklogged: true, ...settings }), NO_LIMIT);

  it('the publish window is filled up', () => {
    expect(backlogged({ publishWindow: 40, liveCount: 30 })).toMatchObject({ count: 10, publishWindow: 40 });
  });

  it('the window doubles when all of it has been attempted, up to 2,000', () => {
    expect(backlogged({ publishWindow: 1, liveCount: 0 })).toMatchObject({ count: 2, publishWindow: 2 });
    expect(backlogged({ publishWindow: 1_500, liveCount: 0 })).toMatchObject({ count: 1_000, publishWindow: 2_000 });
  });

  it('nothing is released into a full window, and it is checked less often', () => {
    expect(backlogged({ publishWindow: 5, liveCount: 9 })).toMatchObject({
      count: 0,
      recheckMs: 250,
      publishWindow: 5,
    });
  });

  it('deliveries leased by a killed sender do not count towards the window', () => {
    expect(backlogged({ publishWindow: 6, liveCount: 60, expectedCount: 0 })).toMatchObject({
      count: 12,
      publishWindow: 12,
    });
    expect(backlogged({ publishWindow: 6, liveCount: 60, expectedCount: 2 })).toMatchObject({
      count: 4,
      recheckMs: 100,
      publishWindow: 6,
    });
  });

  it('at most one first window of such deliveries is ignored, because the senders may only be busy', () => {
    expect(backlogged({ publishWindow: 6, liveCount: 83, expectedCount: 0 })).toMatchObject({
      count: 3,
      publishWindow: 6,
    });
    expect(backlogged({ publishWindow: 6, liveCount: 2_000, expectedCount: 0 }).count).toBe(0);
  });

  it('the first window is eight times the in-flight limit', () => {
    expect(backlogged({ maxInFlight: 1, liveCount: 5 })).toMatchObject({ count: 3, publishWindow: 8 });
  });
});

describe('with a rate limit', () => {
  const limited = (settings: Partial<DueQueue>) =>
    planRelease(queue({ rateLimitPerSecond: 20, ...settings }), NO_LIMIT);

  it('the send times of the next second are assigned', () => {
    expect(limited({})).toMatchObject({ count: 20, sendTimes: { firstInMs: 0, gapMs: 50 } });
    expect(limited({ nextSendInMs: 900 })).toMatchObject({ count: 2, sendTimes: { firstInMs: 900, gapMs: 50 } });
  });

  it('after an open circuit, it still begins with few deliveries, and releases more as they are attempted', () => {
    const ramp = (settings: Partial<DueQueue>) => limited({ isBacklogged: true, ...settings });
    expect(ramp({ publishWindow: 1, liveCount: 0 })).toMatchObject({ count: 2, publishWindow: 2 });
    expect(ramp({ publishWindow: 8, liveCount: 4 })).toMatchObject({ count: 12, publishWindow: 16 });
    expect(ramp({ publishWindow: 8, liveCount: 5 })).toMatchObject({ count: 3, publishWindow: 8 });
    expect(ramp({ publishWindow: 24, liveCount: 0 })).toMatchObject({ count: 20, publishWindow: 30 });
    // A killed sender still leases six deliveries.
    expect(ramp({ publishWindow: 8, liveCount: 6, expectedCount: 0 })).toMatchObject({ count: 16, publishWindow: 16 });
  });

  it('no send times are assigned if all are reserved', () => {
    expect(limited({ nextSendInMs: 1_000 }).count).toBe(0);
    expect(limited({ nextSendInMs: 60_000 }).count).toBe(0);
  });

  it('no more are published than the rate of one second plus the in-flight limit', () => {
    expect(limited({ isBacklogged: true, liveCount: 25 }).count).toBe(5);
    expect(limited({ isBacklogged: true, liveCount: 99 }).count).toBe(0);
  });

  it('only the used send times are reserved', () => {
    const limitedQueue = queue({ rateLimitPerSecond: 20, nextSendInMs: 100 });
    const release = planRelease(limitedQueue, NO_LIMIT);
    expect(changeAfter(limitedQueue, { release, released: 3, random: 0 }).nextSendInMs).toBe(250);
    expect(changeAfter(limitedQueue, { release, released: 0, random: 0 }).nextSendInMs).toBeNull();
  });
});

describe('with an open circuit', () => {
  const open = (inMs: number, waitMs = 30_000) => queue({ isBacklogged: true, probe: { inMs, waitMs } });

  it('nothing is released before the probe is due, and the next check is at that time', () => {
    const release = planRelease(open(12_345.6), NO_LIMIT);
    expect(release).toMatchObject({ count: 0, recheckMs: 12_346 });
    expect(changeAfter(open(12_345.6), { release, released: 0, random: 0 })).toMatchObject({
      recheckMs: 12_346,
      mustRecheck: true,
      nextProbe: null,
    });
  });

  it('one probe is released, and the next one after twice the wait', () => {
    const release = planRelease(open(0), NO_LIMIT);
    expect(release).toMatchObject({ count: 1, isProbe: true });
    expect(changeAfter(open(0), { release, released: 1, random: 0 })).toMatchObject({
      nextProbe: { inMs: 60_000, waitMs: 60_000 },
      recheckMs: 60_000,
      mustRecheck: true,
      publishWindow: 1,
    });
  });

  it('the wait is an hour at most', () => {
    const release = planRelease(open(0, 3_000_000), NO_LIMIT);
    const next = (random: number) => changeAfter(open(0, 3_000_000), { release, released: 1, random }).nextProbe;
    expect(next(0)).toEqual({ inMs: 3_600_000, waitMs: 3_600_000 });
    // Circuits that opened together are not probed together.
    expect(next(0.5)).toEqual({ inMs: 3_240_000, waitMs: 3_600_000 });
  });

  it('if no delivery can be the probe, the next check is in 30 s, and the wait stays the same', () => {
    const release = planRelease(open(-5), NO_LIMIT);
    expect(changeAfter(open(-5), { release, released: 0, random: 0 })).toMatchObject({
      nextProbe: null,
      recheckMs: 30_000,
      mustRecheck: true,
    });
  });
});

describe('while it is paused', () => {
  const paused = (settings: Partial<DueQueue>) => {
    const pausedQueue = queue({ isBacklogged: true, publishWindow: 3, pausedForMs: 12_345.6, ...settings });
    const release = planRelease(pausedQueue, NO_LIMIT);
    return { ...release, ...changeAfter(pausedQueue, { release, released: 0, random: 0 }) };
  };

  it('nothing is released, and the next check is at the end of the pause, within an hour', () => {
    expect(paused({})).toMatchObject({ count: 0, recheckMs: 12_346, mustRecheck: true });
    expect(paused({ pausedForMs: 86_400_000 })).toMatchObject({ count: 0, recheckMs: 3_600_000 });
    expect(paused({ rateLimitPerSecond: 5 })).toMatchObject({ count: 0, nextSendInMs: null });
  });

  it('the endpoint is not probed either', () => {
    expect(paused({ probe: { inMs: -1, waitMs: 1 } })).toMatchObject({ count: 0, nextProbe: null });
  });

  it('the deliveries are released after the pause as at the beginning of a backlog', () => {
    expect(paused({}).publishWindow).toBeNull();
    expect(paused({ pausedForMs: -1, publishWindow: null })).toMatchObject({ count: 80, mustRecheck: false });
  });

  it('it stays paused if it is inactive, with the same checks', () => {
    expect(paused({ isActive: false })).toMatchObject({ count: 0, recheckMs: 12_346, mustRecheck: true });
  });
});

it('times are whole milliseconds, as Postgres requires', () => {
  const settings = [
    { probe: { inMs: 0.4, waitMs: 1 } },
    { probe: { inMs: 700.1, waitMs: 1 } },
    { pausedForMs: 0.1 },
    {},
  ];
  for (const setting of settings) expect(planRelease(queue(setting), NO_LIMIT).recheckMs).toSatisfy(Number.isInteger);
});
