import { describe, expect, it } from 'vitest';
import { nextAttemptOf, type WaitingDelivery, waitReasonOf } from '../../src/delivery/queue/wait-reason.ts';
import type { WaitReason } from '../../src/generated/prisma/enums.ts';

const NOW = new Date('2026-01-31T12:00:00Z');
const at = (seconds: number) => new Date(NOW.getTime() + seconds * 1_000);

type Case = {
  /** Seconds until the next attempt; null if the delivery has ended. */
  readonly dueIn: number | null;
  readonly isEnqueued?: boolean;
  readonly stored?: WaitReason;
  readonly rateLimit?: number;
  readonly isBrokerUnavailable?: boolean;
  /** Seconds since NATS refused a delivery of the subscription. */
  readonly refusedFor?: number;
  /** Seconds until the probe of an open circuit. */
  readonly probeIn?: number;
  /** Seconds until the end of a pause. */
  readonly pausedFor?: number;
};

function delivery({
  dueIn,
  isEnqueued = false,
  stored,
  rateLimit,
  probeIn,
  refusedFor,
  pausedFor,
}: Case): WaitingDelivery {
  return {
    nextAttemptAt: dueIn === null ? null : at(dueIn),
    enqueuedAt: isEnqueued ? at(-1) : null,
    waitingFor: stored ?? null,
    subscription: {
      rateLimitPerSecond: rateLimit ?? null,
      state: {
        openedAt: probeIn === undefined ? null : at(-100),
        probeAt: probeIn === undefined ? null : at(probeIn),
        refusedAt: refusedFor === undefined ? null : at(-refusedFor),
        pausedUntil: pausedFor === undefined ? null : at(pausedFor),
      },
    },
  };
}

describe('the wait reason of a delivery', () => {
  it.each<[what: string, Case, WaitReason | null]>([
    ['has ended', { dueIn: null }, null],
    ['has ended, behind an open circuit', { dueIn: null, probeIn: 5, rateLimit: 1 }, null],
    ['is not due', { dueIn: 5, stored: 'BACKOFF' }, 'BACKOFF'],
    ['is not due, because the receiver asked for it', { dueIn: 5, stored: 'RETRY_AFTER' }, 'RETRY_AFTER'],
    ['is not due, behind an open circuit', { dueIn: 5, stored: 'BACKOFF', probeIn: 30 }, 'BACKOFF'],
    ['is not due, but in JetStream', { dueIn: 5, stored: 'BACKOFF', isEnqueued: true }, 'BACKOFF'],
    ['has just been published', { dueIn: 0, isEnqueued: true }, null],
    ['is attempted again', { dueIn: -1, stored: 'BACKOFF', isEnqueued: true }, null],
    ['is the probe', { dueIn: -1, isEnqueued: true, probeIn: 60 }, null],
    ['is due', { dueIn: 0 }, 'IN_FLIGHT_LIMIT'],
    ['is due after a back-off', { dueIn: -1, stored: 'BACKOFF' }, 'IN_FLIGHT_LIMIT'],
    ['is due under a rate limit', { dueIn: -1, stored: 'BACKOFF', rateLimit: 5 }, 'RATE_LIMITED'],
    ['is due after its rate limit was removed', { dueIn: -1, stored: 'RATE_LIMITED' }, 'IN_FLIGHT_LIMIT'],
    ['is due after the circuit has closed', { dueIn: -1, stored: 'CIRCUIT_OPEN' }, 'IN_FLIGHT_LIMIT'],
    [
      'is due while NATS is unavailable or full',
      { dueIn: -1, isBrokerUnavailable: true, rateLimit: 5 },
      'BROKER_UNAVAILABLE',
    ],
    ['is due after NATS refused it from another process', { dueIn: -1, refusedFor: 5 }, 'BROKER_UNAVAILABLE'],
    ['is due long after NATS refused it', { dueIn: -1, refusedFor: 61 }, 'IN_FLIGHT_LIMIT'],
    [
      'is not due while NATS is unavailable or full',
      { dueIn: 5, stored: 'BACKOFF', isBrokerUnavailable: true },
      'BACKOFF',
    ],
    [
      'has been published before NATS became unavailable',
      { dueIn: -1, isEnqueued: true, isBrokerUnavailable: true },
      null,
    ],
    [
      'is due behind an open circuit while NATS is unavailable',
      { dueIn: -1, isBrokerUnavailable: true, probeIn: 30 },
      'CIRCUIT_OPEN',
    ],
    ['is due behind an open circuit', { dueIn: -1, stored: 'BACKOFF', probeIn: 30 }, 'CIRCUIT_OPEN'],
    [
      'is due during a pause',
      { dueIn: -1, pausedFor: 5, probeIn: 30, isBrokerUnavailable: true, rateLimit: 5 },
      'PAUSED',
    ],
    ['is not due during a pause', { dueIn: 5, stored: 'BACKOFF', pausedFor: 30 }, 'BACKOFF'],
    ['has been published before a pause', { dueIn: -1, isEnqueued: true, pausedFor: 30 }, null],
    ['is due after a pause', { dueIn: -1, stored: 'PAUSED', pausedFor: 0 }, 'IN_FLIGHT_LIMIT'],
    ['is due behind an open circuit with a rate limit', { dueIn: -1, rateLimit: 5, probeIn: 30 }, 'CIRCUIT_OPEN'],
  ])('that %s', (_what, given, expected) => {
    const takesDeliveries = given.isBrokerUnavailable !== true;
    expect(waitReasonOf(delivery(given), { now: NOW, takesDeliveries })).toBe(expected);
  });
});

describe('the next attempt of a delivery', () => {
  it.each<[what: string, Case, seconds: number | null]>([
    ['has ended: none', { dueIn: null, probeIn: 30 }, null],
    ['is not due yet: its due time', { dueIn: 5 }, 5],
    ['is due: the time at which it became due', { dueIn: -5 }, -5],
    ['is due behind an open circuit: the next probe', { dueIn: -5, probeIn: 30 }, 30],
    ['is due before the next probe: the probe', { dueIn: 5, probeIn: 30 }, 30],
    ['is due after the next probe: its due time', { dueIn: 60, probeIn: 30 }, 60],
    ['is due while a probe is due: the time at which it became due', { dueIn: -5, probeIn: -10 }, -5],
    ['is due during a pause: the end of the pause', { dueIn: -5, pausedFor: 30, probeIn: 20 }, 30],
    ['is due after the end of a pause: its due time', { dueIn: 60, pausedFor: 30 }, 60],
    ['is the probe: the time at which it became due', { dueIn: -5, isEnqueued: true, probeIn: 60 }, -5],
  ])('that %s', (_what, given, seconds) => {
    expect(nextAttemptOf(delivery(given))).toEqual(seconds === null ? null : at(seconds));
  });
});
