import { failureReasonOf, type Outcome } from './outcome.ts';

export type Decision =
  | { readonly kind: 'success' }
  | { readonly kind: 'retry'; readonly delayMs: number }
  | { readonly kind: 'failure' };

export type DecisionInput = {
  readonly outcome: Outcome;
  /** The number of the attempt that was made, from 1. */
  readonly attemptNumber: number;
  readonly retryScheduleMs: readonly number[];
  /** From 0 to 1. */
  readonly random: number;
};

/** ±20 %: receivers that failed together are not tried again together. */
const JITTER = 0.2;

/** What happens after an attempt. Whole milliseconds: nats-server takes a fraction for no delay at all. */
export function decide({ outcome, attemptNumber, retryScheduleMs, random }: DecisionInput): Decision {
  if (failureReasonOf(outcome) === undefined) return { kind: 'success' };
  const waitMs = retryScheduleMs[attemptNumber - 1];
  if (waitMs === undefined) return { kind: 'failure' };
  return { kind: 'retry', delayMs: Math.round(waitMs * (1 - JITTER + 2 * JITTER * random)) };
}
