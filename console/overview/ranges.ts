import { StatsBucket } from '../generated/graphql.ts';
import { dateAndTime, type Zone } from '../ui/format.ts';
import { useNow } from '../ui/time.tsx';

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

/** The range that ends with the current bucket; another one when the next bucket begins. */
export function useRange(name: RangeName): ReturnType<typeof rangeOf> {
  return rangeOf(name, useNow(RANGES[name].bucketMs));
}

/** The start of a bucket as the axis shows it: time, or date for days, which are those of UTC. */
export function bucketLabel(from: string, name: RangeName, zone: Zone): string {
  const [date, time] = dateAndTime(Date.parse(from), name === '30d' ? 'utc' : zone);
  const [day, minute] = [date.slice(5), time.slice(0, 5)];
  if (name === '30d') return day;
  return name === '7d' ? `${day} ${minute}` : minute;
}
