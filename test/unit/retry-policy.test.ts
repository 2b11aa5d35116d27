import { describe, expect, it } from 'vitest';
import type { Outcome } from '../../src/delivery/http/request.ts';
import { type NextStep, nextStep, plannedAttempts } from '../../src/delivery/sending/retry-policy.ts';
import { FailureReason } from '../../src/generated/prisma/enums.ts';

const HOUR_MS = 3_600_000;
const NOW = Date.UTC(2026, 0, 31, 12, 0, 0);
/** Four attempts. */
const retryScheduleMs = [5_000, 30_000, 120_000];
const RANDOM = [0, 0.5, 1] as const;

function response(statusCode: number, retryAfter?: string): Outcome {
  const headers: Record<string, string> = retryAfter === undefined ? {} : { 'retry-after': retryAfter };
  return { kind: 'response', statusCode, headers, body: '', bodyTruncated: false, responseTimeMs: 1 };
}

function failure(reason: FailureReason): Outcome {
  return { kind: 'failure', reason, message: '', responseTimeMs: 1 };
}

function decisions(outcome: Outcome, attemptNumber: number): NextStep[] {
  return RANDOM.map((random) => nextStep({ outcome, attemptNumber, retryScheduleMs, random, nowMs: NOW }));
}

type Waits = readonly [number, number, number];
const retries = (delays: Waits, waitingFor: 'BACKOFF' | 'RETRY_AFTER' = 'BACKOFF') =>
  delays.map((delayMs) => ({ kind: 'retry', delayMs, waitingFor }));

/** Waits of the schedule after attempts 1, 2 and 3: the minimum, the mean and the maximum. */
const SCHEDULED: readonly Waits[] = [
  [4_000, 5_000, 6_000],
  [24_000, 30_000, 36_000],
  [96_000, 120_000, 144_000],
];
/** The same waits for a receiver that may be overloaded. */
const SPARED: readonly Waits[] = [
  [4_000, 5_000, 6_000],
  [60_000, 63_000, 66_000],
  [96_000, 120_000, 144_000],
];

const SPARED_REASONS: readonly FailureReason[] = ['TIMEOUT'];
const OTHER_REASONS = Object.values(FailureReason).filter((reason) => !SPARED_REASONS.includes(reason));

const RETRIED: readonly (readonly [what: string, Outcome, waits: readonly Waits[]])[] = [
  ...[300, 301, 307, 400, 401, 404, 408, 413, 425, 499, 500, 501, 503, 599].map(
    (status) => [`a ${status}`, response(status), SCHEDULED] as const,
  ),
  ...OTHER_REASONS.map((reason) => [reason, failure(reason), SCHEDULED] as const),
  ...[429, 502, 504].map((status) => [`a ${status}`, response(status), SPARED] as const),
  ...SPARED_REASONS.map((reason) => [reason, failure(reason), SPARED] as const),
];

describe('the next step after an attempt', () => {
  it.each([200, 201, 204, 299])('a %i is a success at any attempt number', (statusCode) => {
    for (const attemptNumber of [1, 2, 3, 4]) {
      expect(decisions(response(statusCode), attemptNumber)).toEqual(Array(3).fill({ kind: 'success' }));
    }
  });

  it('a 410 ends the subscription at any attempt number', () => {
    for (const attemptNumber of [1, 2, 3, 4]) {
      expect(decisions(response(410, '3600'), attemptNumber)).toEqual(Array(3).fill({ kind: 'gone' }));
    }
  });

  it.each(RETRIED)('%s is retried until the schedule ends', (_what, outcome, waits) => {
    for (const [index, delays] of waits.entries()) {
      expect(decisions(outcome, index + 1), `attempt ${index + 1}`).toEqual(retries(delays));
    }
    expect(decisions(outcome, 4)).toEqual(Array(3).fill({ kind: 'failure' }));
  });

  it('waits are whole milliseconds', () => {
    const random = 0.333;
    const input = { attemptNumber: 2, retryScheduleMs: [1, 333], random, nowMs: NOW } as const;
    for (const outcome of [response(500), response(429), response(503, '1')]) {
      const decision = nextStep({ ...input, outcome });
      expect('delayMs' in decision && Number.isInteger(decision.delayMs)).toBe(true);
    }
  });
});

describe('Retry-After', () => {
  const asked: readonly [what: string, [Outcome, attemptNumber: number], object[]][] = [
    ['lengthens the wait after a 503', [response(503, '60'), 1], retries([60_000, 63_000, 66_000], 'RETRY_AFTER')],
    ['lengthens the wait after a 429', [response(429, '60'), 1], retries([60_000, 63_000, 66_000], 'RETRY_AFTER')],
    [
      'may be a date',
      [response(503, 'Sat, 31 Jan 2026 12:01:00 GMT'), 1],
      retries([60_000, 63_000, 66_000], 'RETRY_AFTER'),
    ],
    ['never shortens the wait', [response(503, '10'), 2], retries([24_000, 30_000, 36_000])],
    ['never shortens the wait for an overloaded receiver', [response(429, '40'), 2], retries(SPARED[1] ?? [0, 0, 0])],
    [
      'is limited to 10 h',
      [response(503, '86400'), 1],
      retries([10 * HOUR_MS, 10 * HOUR_MS, 10 * HOUR_MS], 'RETRY_AFTER'),
    ],
    [
      'is spread within the 10 h',
      [response(503, String(9.5 * 3_600)), 1],
      retries([9.5 * HOUR_MS, 9.975 * HOUR_MS, 10 * HOUR_MS], 'RETRY_AFTER'),
    ],
    [
      'that is endless is limited to 10 h',
      [response(503, '9'.repeat(400)), 1],
      retries([10 * HOUR_MS, 10 * HOUR_MS, 10 * HOUR_MS], 'RETRY_AFTER'),
    ],
    ['that is garbage is ignored', [response(503, 'soon'), 1], retries([4_000, 5_000, 6_000])],
    ['that is negative is ignored', [response(503, '-60'), 1], retries([4_000, 5_000, 6_000])],
    ['that has passed is ignored', [response(503, 'Sat, 31 Jan 2026 11:00:00 GMT'), 1], retries([4_000, 5_000, 6_000])],
    ['with a 500 is ignored', [response(500, '60'), 1], retries([4_000, 5_000, 6_000])],
    ['with a 301 is ignored', [response(301, '60'), 1], retries([4_000, 5_000, 6_000])],
    ['with the last attempt changes nothing', [response(503, '60'), 4], Array(3).fill({ kind: 'failure' })],
  ];

  it.each(asked)('%s', (_what, [outcome, attemptNumber], expected) => {
    expect(decisions(outcome, attemptNumber)).toEqual(expected);
  });

  it('applies only if it is later than the scheduled wait, which is random', () => {
    expect(decisions(response(503, '5'), 1)).toEqual([
      { kind: 'retry', delayMs: 5_000, waitingFor: 'RETRY_AFTER' },
      { kind: 'retry', delayMs: 5_250, waitingFor: 'RETRY_AFTER' },
      { kind: 'retry', delayMs: 6_000, waitingFor: 'BACKOFF' },
    ]);
  });

  it('does not shorten a schedule that waits longer than 10 h', () => {
    const input = { outcome: response(503, '72000'), attemptNumber: 1, retryScheduleMs: [20 * HOUR_MS], nowMs: NOW };
    expect(nextStep({ ...input, random: 0.5 })).toEqual({
      kind: 'retry',
      delayMs: 20 * HOUR_MS,
      waitingFor: 'BACKOFF',
    });
  });
});

describe('the planned attempts', () => {
  const nextAttemptAt = new Date(NOW);
  const planned = (attemptCount: number, isTest = false) =>
    plannedAttempts({ nextAttemptAt, attemptCount, isTest }, retryScheduleMs).map(({ number, at }) => [
      number,
      at.getTime() - NOW,
    ]);

  it('follow the schedule from the next one on', () => {
    expect(planned(0)).toEqual([
      [1, 0],
      [2, 5_000],
      [3, 35_000],
      [4, 155_000],
    ]);
    expect(planned(2)).toEqual([
      [3, 0],
      [4, 120_000],
    ]);
  });

  it('are one for a test event, and for a retry by hand after the schedule', () => {
    expect(planned(0, true)).toEqual([[1, 0]]);
    expect(planned(4)).toEqual([[5, 0]]);
  });

  it('are none once the delivery has ended', () => {
    expect(plannedAttempts({ nextAttemptAt: null, attemptCount: 1, isTest: false }, retryScheduleMs)).toEqual([]);
  });
});
