import { StatsBucket } from '../generated/graphql.ts';

export type RangeName = '1h' | '24h' | '7d' | '30d';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The width of a bucket and the length of a range, in milliseconds. */
const RANGES: Readonly<
  Record<RangeName, { readonly bucket: StatsBucket; readonly bucketMs: number; readonly ms: number }>
> = {
  '1h': { bucket: StatsBucket.Minute, bucketMs: MINUTE, ms: HOUR },
  '24h': { bucket: StatsBucket.Hour, bucketMs: HOUR, ms: DAY },
  '7d': { bucket: StatsBucket.Hour, bucketMs: HOUR, ms: 7 * DAY },
  '30d': { bucket: StatsBucket.Day, bucketMs: DAY, ms: 30 * DAY },
};

export const RANGE_NAMES: readonly RangeName[] = ['1h', '24h', '7d', '30d'];

export function readRange(text: string | null): RangeName {
  return RANGE_NAMES.find((name) => name === text) ?? '24h';
}

/** The range that ends with the current bucket. */
export function rangeOf(name: RangeName, nowMs: number): { bucket: StatsBucket; from: string; to: string } {
  const { bucket, bucketMs, ms } = RANGES[name];
  const end = Math.ceil((nowMs + 1) / bucketMs) * bucketMs;
  return { bucket, from: new Date(end - ms).toISOString(), to: new Date(end).toISOString() };
}

/** The start of a bucket as the axis shows it: time, or date for days. */
export function bucketLabel(from: string, name: RangeName, zone: 'local' | 'utc'): string {
  const ms = Date.parse(from);
  const shifted = zone === 'utc' ? ms : ms - new Date(ms).getTimezoneOffset() * MINUTE;
  const text = new Date(shifted).toISOString();
  const [date, time] = [text.slice(5, 10), text.slice(11, 16)];
  if (name === '30d') return date;
  return name === '7d' ? `${date} ${time}` : time;
}
