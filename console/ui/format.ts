const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A span as `42 s`, `3 min`, `5 h`, `2 d`: the largest unit, rounded down. */
export function span(ms: number): string {
  const size = Math.abs(ms);
  if (size < SECOND) return `${Math.round(size)} ms`;
  if (size < MINUTE) return `${Math.floor(size / SECOND)} s`;
  if (size < HOUR) return `${Math.floor(size / MINUTE)} min`;
  if (size < DAY) return `${Math.floor(size / HOUR)} h`;
  return `${Math.floor(size / DAY)} d`;
}

/** A countdown as `29 d`, `1:02:03` or `0:42`; `0:00` when it is over. */
export function countdown(ms: number): string {
  if (ms >= 2 * DAY) return span(ms);
  const seconds = Math.max(0, Math.ceil(ms / SECOND));
  const two = (value: number) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

export function relativeTime(ms: number, nowMs: number): string {
  const distance = nowMs - ms;
  if (Math.abs(distance) < SECOND) return 'now';
  return distance > 0 ? `${span(distance)} ago` : `in ${span(distance)}`;
}

export type Zone = 'local' | 'utc';

/** Date and time in a zone: `2026-01-31` and `12:00:00.000Z`. */
export function dateAndTime(ms: number, zone: Zone): readonly [date: string, time: string] {
  const shifted = zone === 'utc' ? ms : ms - new Date(ms).getTimezoneOffset() * MINUTE;
  const [date = '', time = ''] = new Date(shifted).toISOString().split('T');
  return [date, time];
}

function partsOf(ms: number, zone: Zone): Record<'date' | 'time' | 'millis' | 'zone', string> {
  const [day, time] = dateAndTime(ms, zone);
  return { date: day, time: time.slice(0, 8), millis: time.slice(8, 12), zone: zone === 'utc' ? 'UTC' : offsetOf(ms) };
}

function offsetOf(ms: number): string {
  const minutes = -new Date(ms).getTimezoneOffset();
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `${minutes < 0 ? '−' : '+'}${String(hours).padStart(2, '0')}:${String(rest).padStart(2, '0')}`;
}

/** `2026-01-31 12:00:00.000 UTC`, or with the offset of this machine. */
export function exactTime(ms: number, zone: Zone): string {
  const { date, time, millis, zone: name } = partsOf(ms, zone);
  return `${date} ${time}${millis} ${name}`;
}

/** `12:00:00.000` on the day of `nowMs`, otherwise `01-31 12:00:00`. */
export function clockTime(ms: number, { nowMs, zone }: { readonly nowMs: number; readonly zone: Zone }): string {
  const { date, time, millis } = partsOf(ms, zone);
  return date === partsOf(nowMs, zone).date ? `${time}${millis}` : `${date.slice(5)} ${time}`;
}

/** Bytes as `512 B`, `1.4 KiB`, `3.0 MiB`. */
export function bytes(count: number): string {
  if (count < 1_024) return `${count} B`;
  if (count < 1_024 ** 2) return `${(count / 1_024).toFixed(1)} KiB`;
  return `${(count / 1_024 ** 2).toFixed(1)} MiB`;
}

let numbers = new Intl.NumberFormat('en-US');

/** The language of numbers; that of texts is English. */
export function setLocale(locale: string): void {
  numbers = new Intl.NumberFormat(locale);
}

export function count(value: number): string {
  return numbers.format(value);
}

/** A number that the server counted up to a bound: `42`, or `over 1,000`. */
export function countOf(value: number, isExact: boolean): string {
  return isExact ? count(value) : `over ${count(value)}`;
}

/** A share from 0 to 1 as `97.4 %`; never rounded up to 100 %. */
export function percent(share: number): string {
  return `${(Math.floor(share * 1_000) / 10).toFixed(share === 1 ? 0 : 1)} %`;
}
