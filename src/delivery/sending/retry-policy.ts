import type { WaitReason } from '../../generated/prisma/enums.ts';
import { parseDateTime, toDateTime } from '../../lib/date-time.ts';
import { failureReasonOf, type Outcome } from '../http/request.ts';

export type NextStep =
  | { readonly kind: 'success' }
  | {
      readonly kind: 'retry';
      /** Whole milliseconds: nats-server treats a fraction as no delay. */
      readonly delayMs: number;
      readonly waitingFor: Extract<WaitReason, 'BACKOFF' | 'RETRY_AFTER'>;
    }
  | { readonly kind: 'failure' }
  /** The endpoint answered 410: the delivery has failed, and the caller deactivates the subscription. */
  | { readonly kind: 'gone' };

type RetryInput = {
  readonly outcome: Outcome;
  /** The number of the attempt that was made, from 1. */
  readonly attemptNumber: number;
  readonly retryScheduleMs: readonly number[];
  /** From 0 to 1. */
  readonly random: number;
  /** Time of the outcome in Unix milliseconds. A date in Retry-After is compared with it. */
  readonly nowMs: number;
};

/** Jitter of ±20 %, so that deliveries that failed together are not retried together. */
const JITTER = 0.2;
/** Jitter of a minimum wait, which is lengthened by up to 10 % and never shortened. */
const MINIMUM_WAIT_JITTER = 0.1;
/**
 * Minimum milliseconds between retries of an overloaded receiver, after one quick retry, even if the schedule has shorter
 * delays. Standard Webhooks requires such a pause; its length is that of Svix.
 */
const OVERLOAD_WAIT_MS = 60_000;
const OVERLOAD_STATUS_CODES: ReadonlySet<number> = new Set([429, 502, 504]);
/** Maximum wait that a Retry-After can request, 10 h. A faulty value must not delay a delivery for weeks. */
const MAX_RETRY_AFTER_MS = 36_000_000;
/** Status codes with which Retry-After is honoured. RFC 9110 also allows it with 3xx, but redirects are not followed. */
const RETRY_AFTER_STATUS_CODES: ReadonlySet<number> = new Set([429, 503]);
const GONE = 410;

/** Decides what happens after an attempt. */
export function nextStep({ outcome, attemptNumber, retryScheduleMs, random, nowMs }: RetryInput): NextStep {
  if (failureReasonOf(outcome) === undefined) return { kind: 'success' };
  if (outcome.kind === 'response' && outcome.statusCode === GONE) return { kind: 'gone' };
  const scheduledMs = retryScheduleMs[attemptNumber - 1];
  if (scheduledMs === undefined) return { kind: 'failure' };
  const jitteredMs = Math.round(scheduledMs * (1 - JITTER + 2 * JITTER * random));
  const isOverloaded = attemptNumber > 1 && showsOverload(outcome);
  const backoffMs = Math.max(jitteredMs, isOverloaded ? lengthen(OVERLOAD_WAIT_MS, random) : 0);
  const requestedMs = retryAfterMs(outcome, { random, nowMs });
  return requestedMs > backoffMs
    ? { kind: 'retry', delayMs: requestedMs, waitingFor: 'RETRY_AFTER' }
    : { kind: 'retry', delayMs: backoffMs, waitingFor: 'BACKOFF' };
}

export type PlannedAttempt = { readonly number: number; readonly at: Date };

type Planned = {
  /** Null: no attempt is planned. */
  readonly nextAttemptAt: Date | null;
  readonly attemptCount: number;
  readonly isTest: boolean;
};

/** The remaining attempts if each fails immediately, without jitter: one for a test event, else those of the schedule. */
export function plannedAttempts(
  { nextAttemptAt, attemptCount, isTest }: Planned,
  retryScheduleMs: readonly number[],
): PlannedAttempt[] {
  if (nextAttemptAt === null) return [];
  const waits = isTest ? [] : retryScheduleMs.slice(attemptCount);
  const planned = [{ number: attemptCount + 1, at: nextAttemptAt }];
  let atMs = nextAttemptAt.getTime();
  for (const [index, waitMs] of waits.entries()) {
    atMs += waitMs;
    planned.push({ number: attemptCount + 2 + index, at: new Date(atMs) });
  }
  return planned;
}

/** The next step after the attempt of a test event. It is never retried and does not change the subscription. */
export function nextStepOfTest(outcome: Outcome): NextStep {
  return { kind: failureReasonOf(outcome) === undefined ? 'success' : 'failure' };
}

function showsOverload(outcome: Outcome): boolean {
  if (outcome.kind === 'failure') return outcome.reason === 'TIMEOUT';
  return OVERLOAD_STATUS_CODES.has(outcome.statusCode);
}

/** The wait in milliseconds that the receiver requested, lengthened by its jitter, at most 10 h; 0 if it requested none. */
function retryAfterMs(outcome: Outcome, { random, nowMs }: Pick<RetryInput, 'random' | 'nowMs'>): number {
  if (outcome.kind === 'failure' || !RETRY_AFTER_STATUS_CODES.has(outcome.statusCode)) return 0;
  const requestedMs = parseRetryAfter(outcome.headers['retry-after'], nowMs);
  return requestedMs === undefined ? 0 : Math.min(lengthen(requestedMs, random), MAX_RETRY_AFTER_MS);
}

/** Adds jitter to a minimum wait, so that deliveries with the same minimum are retried at different times, never earlier. */
function lengthen(waitMs: number, random: number): number {
  return Math.ceil(waitMs * (1 + MINIMUM_WAIT_JITTER * random));
}

/** RFC 9110, 10.2.3, allows whole seconds only; some rate limiters write fractions. */
const DELAY_SECONDS = /^\d+(?:\.\d+)?$/;
const TIME = String.raw`(\d\d):(\d\d):(\d\d)`;
/**
 * The three forms of an HTTP-date (RFC 9110, 5.6.7). The first form is a subset of RFC 5322 and is parsed as leniently: with
 * another zone, without the day's name, with a day of one digit. The second form has a year of two digits.
 */
const IMF_FIXDATE = new RegExp(
  String.raw`^(?:[a-z]{3}, )?(\d{1,2}) ([a-z]{3}) (\d{4}) ${TIME} (gmt|utc|ut|z|[+-]\d{4})$`,
  'i',
);
const RFC_850_DATE = new RegExp(String.raw`^[a-z]{6,9}, (\d\d)-([a-z]{3})-(\d\d) ${TIME} (gmt|utc)$`, 'i');
/** This form has no zone; it is in GMT. */
const ASCTIME_DATE = new RegExp(String.raw`^[a-z]{3} ([a-z]{3}) ([ \d]\d) ${TIME} (\d{4})$`, 'i');
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];

/**
 * The wait that `Retry-After` requests from `nowMs` on, in milliseconds, unbounded; undefined if it is missing, zero, a
 * time that has passed, or neither seconds nor a date. Dates may also be in RFC 3339.
 */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  const waitMs = DELAY_SECONDS.test(text)
    ? Math.ceil(Number(text) * 1_000)
    : (parseDate(text, nowMs)?.getTime() ?? 0) - nowMs;
  return waitMs > 0 ? waitMs : undefined;
}

function parseDate(text: string, nowMs: number): Date | undefined {
  return parseFixdate(text) ?? parseRfc850(text, nowMs) ?? parseAsctime(text) ?? parseDateTime(text);
}

function parseFixdate(text: string): Date | undefined {
  const [match, day = '', month = '', year = '', hour = '', minute = '', second = '', zone = ''] =
    IMF_FIXDATE.exec(text) ?? [];
  return match === undefined ? undefined : toDate({ year, month, day, hour, minute, second, zone });
}

/** RFC 9110, 5.6.7: a year that seems over 50 years ahead means the latest past year with the same last two digits. */
function parseRfc850(text: string, nowMs: number): Date | undefined {
  const [match, day = '', month = '', shortYear = '', hour = '', minute = '', second = ''] =
    RFC_850_DATE.exec(text) ?? [];
  if (match === undefined) return undefined;
  const now = new Date(nowMs).getUTCFullYear();
  const year = now - (now % 100) + Number(shortYear);
  return toDate({ year: String(year > now + 50 ? year - 100 : year), month, day, hour, minute, second });
}

function parseAsctime(text: string): Date | undefined {
  const [match, month = '', day = '', hour = '', minute = '', second = '', year = ''] = ASCTIME_DATE.exec(text) ?? [];
  return match === undefined ? undefined : toDate({ year, month, day, hour, minute, second });
}

type DateParts = Readonly<Record<'year' | 'month' | 'day' | 'hour' | 'minute' | 'second', string>> & {
  readonly zone?: string;
};

function toDate({ year, month, day, hour, minute, second, zone = '' }: DateParts): Date | undefined {
  const [, sign, offsetHours, offsetMinutes] = /^([+-])(\d\d)([0-5]\d)$/.exec(zone) ?? [];
  if (/^[+-]/.test(zone) && sign === undefined) return undefined;
  const offset = Number(offsetHours ?? 0) * 60 + Number(offsetMinutes ?? 0);
  return toDateTime({
    year: Number(year),
    month: MONTHS.indexOf(month.toLowerCase()) + 1,
    day: Number(day),
    hour: Number(hour),
    minute: Number(minute),
    second: Number(second),
    offsetMinutes: sign === '-' ? -offset : offset,
  });
}
