import type { WaitReason } from '../../generated/prisma/enums.ts';
import { parseMoment, toMoment } from '../../lib/moment.ts';
import { failureReasonOf, type Outcome } from '../http/request.ts';

export type NextStep =
  | { readonly kind: 'success' }
  | {
      readonly kind: 'retry';
      /** Whole milliseconds: nats-server takes a fraction for no delay at all. */
      readonly delayMs: number;
      readonly waitingFor: Extract<WaitReason, 'BACKOFF' | 'RETRY_AFTER'>;
    }
  | { readonly kind: 'failure' }
  /** 410: the delivery has failed, and the subscription is to be deactivated. */
  | { readonly kind: 'gone' };

type RetryInput = {
  readonly outcome: Outcome;
  /** The number of the attempt that was made, from 1. */
  readonly attemptNumber: number;
  readonly retryScheduleMs: readonly number[];
  /** From 0 to 1. */
  readonly random: number;
  /** When the outcome came, in milliseconds since 1970: what a date in Retry-After is compared with. */
  readonly nowMs: number;
};

/** ±20 %: receivers that failed together are not tried again together. */
const JITTER = 0.2;
/** What must not be undercut is only lengthened, by up to 10 %. */
const SPREAD = 0.1;
/**
 * A receiver that says or shows that it has too much to do gets air: after the one quick retry, it is left alone for at
 * least a minute, whatever the schedule says. The length is Svix's; Standard Webhooks asks for some.
 */
const OVERLOAD_WAIT_MS = 60_000;
const OVERLOAD_STATUS_CODES: ReadonlySet<number> = new Set([429, 502, 504]);
/** A slip in a Retry-After must not stop a delivery for weeks. */
const MAX_RETRY_AFTER_MS = 36_000_000;
/** Where Retry-After is a wish about the next request; RFC 9110 has it with a 3xx too, which is not followed. */
const RETRY_AFTER_STATUS_CODES: ReadonlySet<number> = new Set([429, 503]);
const GONE = 410;

/** What happens after an attempt. */
export function nextStep({ outcome, attemptNumber, retryScheduleMs, random, nowMs }: RetryInput): NextStep {
  if (failureReasonOf(outcome) === undefined) return { kind: 'success' };
  if (outcome.kind === 'response' && outcome.statusCode === GONE) return { kind: 'gone' };
  const scheduledMs = retryScheduleMs[attemptNumber - 1];
  if (scheduledMs === undefined) return { kind: 'failure' };
  const backoffMs = Math.round(scheduledMs * (1 - JITTER + 2 * JITTER * random));
  const isSpared = attemptNumber > 1 && isOverload(outcome);
  const ownMs = Math.max(backoffMs, isSpared ? spread(OVERLOAD_WAIT_MS, random) : 0);
  const askedMs = retryAfterMs(outcome, { random, nowMs });
  return askedMs > ownMs
    ? { kind: 'retry', delayMs: askedMs, waitingFor: 'RETRY_AFTER' }
    : { kind: 'retry', delayMs: ownMs, waitingFor: 'BACKOFF' };
}

/** The next step after the attempt of a test event, which is never retried and has no effect on the subscription. */
export function nextStepOfTest(outcome: Outcome): NextStep {
  return { kind: failureReasonOf(outcome) === undefined ? 'success' : 'failure' };
}

function isOverload(outcome: Outcome): boolean {
  if (outcome.kind === 'failure') return outcome.reason === 'TIMEOUT';
  return OVERLOAD_STATUS_CODES.has(outcome.statusCode);
}

/** Never less than the receiver asked for, but for the limit of 10 h, which its spread keeps to as well. 0: nothing. */
function retryAfterMs(outcome: Outcome, { random, nowMs }: Pick<RetryInput, 'random' | 'nowMs'>): number {
  if (outcome.kind === 'failure' || !RETRY_AFTER_STATUS_CODES.has(outcome.statusCode)) return 0;
  const askedMs = parseRetryAfter(outcome.headers['retry-after'], nowMs);
  return askedMs === undefined ? 0 : Math.min(spread(askedMs, random), MAX_RETRY_AFTER_MS);
}

/** Nothing that asked for the same moment comes back at the same moment; never earlier. */
function spread(waitMs: number, random: number): number {
  return Math.ceil(waitMs * (1 + SPREAD * random));
}

/** RFC 9110, 10.2.3, has whole seconds only; some rate limiters write fractions. */
const DELAY_SECONDS = /^\d+(?:\.\d+)?$/;
const TIME = String.raw`(\d\d):(\d\d):(\d\d)`;
/**
 * The three forms of an HTTP-date (RFC 9110, 5.6.7). The first is read as leniently as RFC 5322 writes it, of which it is
 * a part: with another zone, without the day's name, with a day of one digit. The year of the second has two digits.
 */
const IMF_FIXDATE = new RegExp(
  String.raw`^(?:[a-z]{3}, )?(\d{1,2}) ([a-z]{3}) (\d{4}) ${TIME} (gmt|utc|ut|z|[+-]\d{4})$`,
  'i',
);
const RFC_850_DATE = new RegExp(String.raw`^[a-z]{6,9}, (\d\d)-([a-z]{3})-(\d\d) ${TIME} (gmt|utc)$`, 'i');
/** Says no zone, but means GMT. */
const ASCTIME_DATE = new RegExp(String.raw`^[a-z]{3} ([a-z]{3}) ([ \d]\d) ${TIME} (\d{4})$`, 'i');
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];

/**
 * How long `Retry-After` asks to wait from `nowMs` on, in milliseconds, unbounded; undefined if it is missing, asks for
 * nothing, names a time that has passed, or is neither seconds nor a date. Dates may also be in RFC 3339.
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
  return parseFixdate(text) ?? parseRfc850(text, nowMs) ?? parseAsctime(text) ?? parseMoment(text);
}

function parseFixdate(text: string): Date | undefined {
  const [match, day = '', month = '', year = '', hour = '', minute = '', second = '', zone = ''] =
    IMF_FIXDATE.exec(text) ?? [];
  return match === undefined ? undefined : read({ year, month, day, hour, minute, second, zone });
}

/** A year more than 50 years ahead is the latest one in the past with the same two digits. */
function parseRfc850(text: string, nowMs: number): Date | undefined {
  const [match, day = '', month = '', shortYear = '', hour = '', minute = '', second = ''] =
    RFC_850_DATE.exec(text) ?? [];
  if (match === undefined) return undefined;
  const now = new Date(nowMs).getUTCFullYear();
  const year = now - (now % 100) + Number(shortYear);
  return read({ year: String(year > now + 50 ? year - 100 : year), month, day, hour, minute, second });
}

function parseAsctime(text: string): Date | undefined {
  const [match, month = '', day = '', hour = '', minute = '', second = '', year = ''] = ASCTIME_DATE.exec(text) ?? [];
  return match === undefined ? undefined : read({ year, month, day, hour, minute, second });
}

type Written = Readonly<Record<'year' | 'month' | 'day' | 'hour' | 'minute' | 'second', string>> & {
  readonly zone?: string;
};

function read({ year, month, day, hour, minute, second, zone = '' }: Written): Date | undefined {
  const [, sign, offsetHours, offsetMinutes] = /^([+-])(\d\d)([0-5]\d)$/.exec(zone) ?? [];
  if (/^[+-]/.test(zone) && sign === undefined) return undefined;
  const offset = Number(offsetHours ?? 0) * 60 + Number(offsetMinutes ?? 0);
  return toMoment({
    year: Number(year),
    month: MONTHS.indexOf(month.toLowerCase()) + 1,
    day: Number(day),
    hour: Number(hour),
    minute: Number(minute),
    second: Number(second),
    offsetMinutes: sign === '-' ? -offset : offset,
  });
}
