import pg from 'pg';
import { expect, it } from 'vitest';
import { retryDelayMs } from '../../src/events/refused-event.ts';

const secondsAfter = (sqlState: string) => {
  const error = Object.assign(new pg.DatabaseError('no', 2, 'error'), { code: sqlState });
  return [1, 2, 3, 4, 7, 8, 9, 5_000].map((count) => retryDelayMs(error, count) / 1_000);
};

it('an event that Postgres refuses waits twice as long each time, up to an hour', () => {
  expect(secondsAfter('22P05')).toEqual([30, 60, 120, 240, 1_920, 3_600, 3_600, 3_600]);
});

it.each(['57014', '55P03', '40001', '25006', '53100'])(
  'after the transient error %s it waits 30 s at most',
  (state) => {
    expect(secondsAfter(state)).toEqual([5, 10, 20, 30, 30, 30, 30, 30]);
  },
);
