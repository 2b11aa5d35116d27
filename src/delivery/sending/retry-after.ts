import { parseMoment, toMoment } from '../../lib/moment.ts';

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
