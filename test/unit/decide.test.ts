import { describe, expect, it } from 'vitest';
import { decide } from '../../src/delivery/decide.ts';
import type { Outcome } from '../../src/delivery/outcome.ts';

function response(statusCode: number): Outcome {
  return { kind: 'response', statusCode, headers: {}, body: '', bodyTruncated: false, responseTimeMs: 1 };
}

const retryScheduleMs = [5_000, 30_000];

describe('what happens after an attempt', () => {
  it.each([200, 201, 204, 299])('a %i is a success', (statusCode) => {
    expect(decide({ outcome: response(statusCode), attemptNumber: 1, retryScheduleMs, random: 0.5 })).toEqual({
      kind: 'success',
    });
  });

  it.each([300, 301, 404, 500])('a %i is retried', (statusCode) => {
    const decision = decide({ outcome: response(statusCode), attemptNumber: 1, retryScheduleMs, random: 0.5 });
    expect(decision).toEqual({ kind: 'retry', delayMs: 5_000 });
  });

  it('each attempt has the wait of the schedule, and after the last wait the delivery has failed', () => {
    const outcome = response(500);
    expect(decide({ outcome, attemptNumber: 2, retryScheduleMs, random: 0.5 })).toEqual({
      kind: 'retry',
      delayMs: 30_000,
    });
    expect(decide({ outcome, attemptNumber: 3, retryScheduleMs, random: 0.5 })).toEqual({ kind: 'failure' });
  });

  it('waits differ by up to 20 % and are whole milliseconds', () => {
    const delays = [0, 0.333, 1].map((random) =>
      decide({ outcome: response(500), attemptNumber: 1, retryScheduleMs, random }),
    );
    expect(delays).toEqual([
      { kind: 'retry', delayMs: 4_000 },
      { kind: 'retry', delayMs: 4_666 },
      { kind: 'retry', delayMs: 6_000 },
    ]);
  });
});
