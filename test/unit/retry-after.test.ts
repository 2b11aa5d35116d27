import { describe, expect, it } from 'vitest';
import { parseRetryAfter } from '../../src/delivery/retry-after.ts';

const NOW = Date.UTC(2026, 0, 31, 12, 0, 0);

const NOTHING: readonly (readonly [value: string | undefined, what: string])[] = [
  [undefined, 'missing'],
  ['', 'empty'],
  ['0', 'no wait'],
  ['-5', 'negative'],
  ['+5', 'signed'],
  ['1.5', 'a fraction'],
  ['1e3', 'an exponent'],
  ['0x10', 'hexadecimal'],
  ['5s', 'a unit'],
  ['60, 120', 'two'],
  ['soon', 'a word'],
  ['foo 2030', 'what Date.parse takes for a date'],
  ['2026-01-31T12:00:30Z', 'ISO 8601'],
  ['Sat, 31 Jan 2026 12:00:30', 'no zone'],
  ['Sat, 31 Jan 2026 12:00:30 CET', 'another zone'],
  ['Sat, 31 Xyz 2026 12:00:30 GMT', 'no such month'],
  ['Sat, 31 Jan 2026 25:00:00 GMT', 'no such hour'],
  ['Sat, 31 Jan 2026 12:00:00 GMT', 'now'],
  ['Sat, 31 Jan 2026 11:59:59 GMT', 'the past'],
  ['Sun, 06 Nov 1994 08:49:37 GMT', 'the past'],
];

describe('parseRetryAfter', () => {
  it.each([
    ['120', 120_000],
    ['1', 1_000],
    [' 5 ', 5_000],
    ['007', 7_000],
    ['Sat, 31 Jan 2026 12:00:30 GMT', 30_000],
    ['Saturday, 31-Jan-26 12:00:30 GMT', 30_000],
    ['Sat Jan 31 12:00:30 2026', 30_000],
    ['Sun Feb  1 12:00:00 2026', 86_400_000],
  ])('%j asks for %d ms', (value, expected) => {
    expect(parseRetryAfter(value, NOW)).toBe(expected);
  });

  it('leaves it to others to bound what is asked for', () => {
    expect(parseRetryAfter('9'.repeat(400), NOW)).toBe(Number.POSITIVE_INFINITY);
    expect(parseRetryAfter('Fri, 31 Dec 9999 23:59:59 GMT', NOW)).toBeGreaterThan(1e14);
  });

  it.each(NOTHING)('%j asks for nothing: %s', (value) => {
    expect(parseRetryAfter(value, NOW)).toBeUndefined();
  });
});
