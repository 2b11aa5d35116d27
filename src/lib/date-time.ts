/** The parts of a date and time in the offset in which it was written; `month` counts from 1. */
export type DateTimeParts = {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly millisecond?: number;
  /** Minutes by which the written time is ahead of UTC. */
  readonly offsetMinutes?: number;
};

const RFC_3339 =
  /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))$/;

/**
 * Parses a date and time in RFC 3339, the profile of ISO 8601 that CloudEvents prescribes; the seconds may be omitted.
 * Undefined for other text, for days and times that do not exist (30 February, 24:00), and if the year in UTC is not
 * from 1 to 9999. `Date.parse` alone accepts 30 February and returns 2 March.
 */
export function parseDateTime(text: string): Date | undefined {
  const [match, year, month, day, hour, minute, second, fraction, sign, offsetHours, offsetMinutes] =
    RFC_3339.exec(text) ?? [];
  if (match === undefined) return undefined;
  const offset = Number(offsetHours ?? 0) * 60 + Number(offsetMinutes ?? 0);
  return toDateTime({
    year: Number(year),
    month: Number(month),
    day: Number(day),
    hour: Number(hour),
    minute: Number(minute),
    second: Number(second ?? 0),
    millisecond: Number((fraction ?? '').slice(0, 3).padEnd(3, '0')),
    offsetMinutes: sign === '-' ? -offset : offset,
  });
}

/** Undefined for a day or time that does not exist, and if the year in UTC is not from 1 to 9999. */
export function toDateTime(parts: DateTimeParts): Date | undefined {
  const { year, month, day, hour, minute, second, millisecond = 0, offsetMinutes = 0 } = parts;
  // Not Date.UTC: it maps the years 0 to 99 to 1900 to 1999.
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  if (hour > 23 || minute > 59 || second > 60) return undefined;
  const moment = new Date(date.setUTCHours(hour, minute - offsetMinutes, second, millisecond));
  if (second === 60 && !followsLeapSecond(moment)) return undefined;
  const utcYear = moment.getUTCFullYear();
  return utcYear >= 1 && utcYear <= 9_999 ? moment : undefined;
}

/**
 * RFC 3339, 5.7: a leap second is the last second of a month in UTC. A Date has no leap seconds, so it becomes the next
 * second.
 */
function followsLeapSecond(moment: Date): boolean {
  return moment.getUTCDate() === 1 && moment.getUTCHours() === 0 && moment.getUTCMinutes() === 0;
}
