import { expect, test, vi } from 'vitest';
import { bucketLabel, rangeOf, readRange } from './ranges.ts';

const NOW = Date.parse('2026-01-31T12:34:56.000Z');

test('a range ends with the current bucket and has its whole length', () => {
  expect(rangeOf('1h', NOW)).toEqual({
    bucket: 'MINUTE',
    from: '2026-01-31T11:35:00.000Z',
    to: '2026-01-31T12:35:00.000Z',
  });
  expect(rangeOf('30d', NOW)).toMatchObject({ from: '2026-01-02T00:00:00.000Z', to: '2026-02-01T00:00:00.000Z' });
});

test('the start of a bucket is in the current bucket', () => {
  const full = Date.parse('2026-01-31T12:00:00.000Z');
  expect(rangeOf('24h', full).to).toBe('2026-01-31T13:00:00.000Z');
});

test('an unknown name is the last 24 hours', () => {
  expect(readRange('2y')).toBe('24h');
  expect(readRange('7d')).toBe('7d');
});

test('labels show the time of hours and the date of days', () => {
  expect(bucketLabel('2026-01-31T12:00:00.000Z', '24h', 'utc')).toBe('12:00');
  expect(bucketLabel('2026-01-31T12:00:00.000Z', '7d', 'utc')).toBe('01-31 12:00');
  expect(bucketLabel('2026-01-31T00:00:00.000Z', '30d', 'utc')).toBe('01-31');
});

test('west and east of UTC, hours are shown in the local time, and days are those of UTC', () => {
  for (const [offset, hour] of [
    [300, '07:00'],
    [-330, '17:30'],
  ] as const) {
    const spy = vi.spyOn(Date.prototype, 'getTimezoneOffset').mockReturnValue(offset);
    try {
      expect(bucketLabel('2026-01-31T12:00:00.000Z', '24h', 'local')).toBe(hour);
      expect(bucketLabel('2026-01-31T00:00:00.000Z', '30d', 'local')).toBe('01-31');
    } finally {
      spy.mockRestore();
    }
  }
});
