import { describe, expect, it } from 'vitest';
import { parseRetryAfter } from '../../src/delivery/sending/retry-policy.ts';

const NOW = Date.UTC(2026, 0, 31, 12, 0, 0);

const NOTHING: readonly (readonly [value: string | undefined, what: string])[] = [
  [undefined, 'missing'],
  ['', 'empty'],
  ['0', 'no wait'],
  ['-5', 'negative'],
  ['+5', 'signed'],
  ['0.0', 'no wait'],
  ['.5', 'no digit before the point'],
  ['5.', 'no digit after the point'],
  ['1,5', 'a comma'],
  ['Infinity', 'a word'],
  ['1e3', 'an exponent'],
  ['0x10', 'hexadecimal'],
  ['5s', 'a unit'],
  ['60, 120', 'two values'],
  ['soon', 'a word'],
  ['foo 2030', 'a date for Date.parse only'],
  ['2026-02-30T12:00:30Z', 'no such day'],
  ['2026-01-31T12:00:30', 'no zone'],
  ['Sat, 31 Jan 2026 12:00:30', 'no zone'],
  ['Sat, 31 Jan 2026 12:00:30 CET', 'another zone'],
  ['Sat, 31 Jan 2026 12:00:30 +99', 'no zone'],
  ['Sat, 31 Jan 2026 12:00:30 +0199', 'no such zone'],
  ['Mon, 30 Feb 2026 12:00:00 GMT', 'no such day'],
  ['Sunday, 29-Feb-27 12:00:00 GMT', 'no such day'],
  ['Thu Apr 31 12:00:00 2026', 'no such day'],
  ['Sun, 01 Feb 2026 24:00:00 GMT', 'no such hour'],
  ['Sun, 01 Feb 2026 12:60:00 GMT', 'no such minute'],
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
    ['90.7', 90_700],
    ['0.0004', 1],
    ['Sat, 31 Jan 2026 12:00:30 GMT', 30_000],
    ['Sat, 31 Jan 2026 12:00:30 UTC', 30_000],
    ['Sat, 31 Jan 2026 12:00:30 UT', 30_000],
    ['Sat, 31 Jan 2026 12:00:30 Z', 30_000],
    ['Sat, 31 Jan 2026 12:00:30 +0000', 30_000],
    ['Sat, 31 Jan 2026 12:00:30 -0000', 30_000],
    ['Sat, 31 Jan 2026 13:00:30 +0100', 30_000],
    ['Sat, 31 Jan 2026 06:30:30 -0530', 30_000],
    ['sat, 31 jan 2026 12:00:30 gmt', 30_000],
    ['31 Jan 2026 12:00:30 GMT', 30_000],
    ['Sun, 1 Feb 2026 12:00:00 GMT', 86_400_000],
    ['Saturday, 31-Jan-26 12:00:30 UTC', 30_000],
    ['2026-01-31T12:00:30Z', 30_000],
    ['2026-01-31T13:00:30.5+01:00', 30_500],
    ['Saturday, 31-Jan-26 12:00:30 GMT', 30_000],
    ['Sat Jan 31 12:00:30 2026', 30_000],
    ['Sun Feb  1 12:00:00 2026', 86_400_000],
  ])('%j requests %d ms', (value, expected) => {
    expect(parseRetryAfter(value, NOW)).toBe(expected);
  });

  it('reads a year of two digits as one at most 50 years ahead (RFC 9110, 5.6.7)', () => {
    expect(parseRetryAfter('Friday, 31-Jan-76 12:00:00 GMT', NOW)).toBe(Date.UTC(2076, 0, 31, 12) - NOW);
    expect(parseRetryAfter('Sunday, 31-Jan-77 12:00:00 GMT', NOW)).toBeUndefined();
  });

  it('returns requested waits of any length; the caller limits them', () => {
    expect(parseRetryAfter('9'.repeat(400), NOW)).toBe(Number.POSITIVE_INFINITY);
    expect(parseRetryAfter('Fri, 31 Dec 9999 23:59:59 GMT', NOW)).toBeGreaterThan(1e14);
  });

  it.each(NOTHING)('%j requests no wait: %s', (value) => {
    expect(parseRetryAfter(value, NOW)).toBeUndefined();
  });
});
