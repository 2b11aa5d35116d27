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
  readonly isBrokerAway?: boolean;
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

describe('what a delivery waits for', () => {
  it.each<[what: string, Case, WaitReason | null]>([
    ['has ended', { dueIn: null }, null],
    ['has ended, behind an open circuit', { dueIn: null, probeIn: 5, rateLimit: 1 }, null],
    ['is not due', { dueIn: 5, stored: 'BACKOFF' }, 'BACKOFF'],
    ['is not due, because the receiver asked for it', { dueIn: 5, stored: 'RETRY_AFTER' }, 'RETRY_AFTER'],
    ['is not due, behind an open circuit', { dueIn: 5, stored: 'BACKOFF', probeIn: 30 }, 'BACKOFF'],
    ['is not due, in JetStream', { dueIn: 5, stored: 'BACKOFF', isEnqueued: true }, 'BACKOFF'],
    ['has just been published', { dueIn: 0, isEnqueued: true }, null],
    ['is attempted again', { dueIn: -1, stored: 'BACKOFF', isEnqueued: true }, null],
    ['is the probe', { dueIn: -1, isEnqueued: true, probeIn: 60 }, null],
    ['is due', { dueIn: 0 }, 'IN_FLIGHT_LIMIT'],
    ['is due after a back-off', { dueIn: -1, stored: 'BACKOFF' }, 'IN_FLIGHT_LIMIT'],
    ['is due under a rate limit', { dueIn: -1, stored: 'BACKOFF', rateLimit: 5 }, 'RATE_LIMITED'],
    ['is due, the rate limit gone', { dueIn: -1, stored: 'RATE_LIMITED' }, 'IN_FLIGHT_LIMIT'],
    ['is due, the circuit closed', { dueIn: -1, stored: 'CIRCUIT_OPEN' }, 'IN_FLIGHT_LIMIT'],
    ['is due, NATS away or full', { dueIn: -1, isBrokerAway: true, rateLimit: 5 }, 'BROKER_UNAVAILABLE'],
    ['is due, refused to another process', { dueIn: -1, refusedFor: 5 }, 'BROKER_UNAVAILABLE'],
    ['is due, refused long ago', { dueIn: -1, refusedFor: 61 }, 'IN_FLIGHT_LIMIT'],
    ['is not due, NATS away or full', { dueIn: 5, stored: 'BACKOFF', isBrokerAway: true }, 'BACKOFF'],
    ['has been published, NATS away', { dueIn: -1, isEnqueued: true, isBrokerAway: true }, null],
    ['is due behind an open circuit, NATS away', { dueIn: -1, isBrokerAway: true, probeIn: 30 }, 'CIRCUIT_OPEN'],
    ['is due behind an open circuit', { dueIn: -1, stored: 'BACKOFF', probeIn: 30 }, 'CIRCUIT_OPEN'],
    ['is due during a pause', { dueIn: -1, pausedFor: 5, probeIn: 30, isBrokerAway: true, rateLimit: 5 }, 'PAUSED'],
    ['is not due during a pause', { dueIn: 5, stored: 'BACKOFF', pausedFor: 30 }, 'BACKOFF'],
    ['has been published before a pause', { dueIn: -1, isEnqueued: true, pausedFor: 30 }, null],
    ['is due after a pause', { dueIn: -1, stored: 'PAUSED', pausedFor: 0 }, 'IN_FLIGHT_LIMIT'],
    ['is due behind an open circuit with a rate limit', { dueIn: -1, rateLimit: 5, probeIn: 30 }, 'CIRCUIT_OPEN'],
  ])('that %s', (_what, given, expected) => {
    const takesDeliveries = given.isBrokerAway !== true;
    expect(waitReasonOf(delivery(given), { now: NOW, takesDeliveries })).toBe(expected);
  });
});

describe('the next attempt of a delivery', () => {
  it.each<[what: string, Case, seconds: number | null]>([
    ['has ended: none', { dueIn: null, probeIn: 30 }, null],
    ['waits: when it is due', { dueIn: 5 }, 5],
    ['is due: since when it has been', { dueIn: -5 }, -5],
    ['is due behind an open circuit: the next probe', { dueIn: -5, probeIn: 30 }, 30],
    ['is due before the next probe: the probe', { dueIn: 5, probeIn: 30 }, 30],
    ['is due after the next probe: when it is due', { dueIn: 60, probeIn: 30 }, 60],
    ['is due while a probe is: since when it has been', { dueIn: -5, probeIn: -10 }, -5],
    ['is due during a pause: its end', { dueIn: -5, pausedFor: 30, probeIn: 20 }, 30],
    ['is due after the end of a pause: when it is due', { dueIn: 60, pausedFor: 30 }, 60],
    ['is the probe: since when it was due', { dueIn: -5, isEnqueued: true, probeIn: 60 }, -5],
  ])('that %s', (_what, given, seconds) => {
    expect(nextAttemptOf(delivery(given))).toEqual(seconds === null ? null : at(seconds));
  });
});
