import pg from 'pg';
import { expect, it } from 'vitest';
import { mustReject, retryDelayMs } from '../../src/events/refused-event.ts';

const errorOf = (sqlState: string) => Object.assign(new pg.DatabaseError('no', 2, 'error'), { code: sqlState });
const secondsAfter = (sqlState: string) =>
  [1, 2, 3, 4, 7, 8, 9, 5_000].map((count) => retryDelayMs(errorOf(sqlState), count) / 1_000);

it('the retry delay of an event that Postgres refuses doubles each time, up to an hour', () => {
  expect(secondsAfter('22P05')).toEqual([30, 60, 120, 240, 1_920, 3_600, 3_600, 3_600]);
});

it.each(['57014', '55P03', '40001', '25006', '53100'])(
  'after the transient error %s the retry delay is at most 30 s',
  (state) => {
    expect(secondsAfter(state)).toEqual([5, 10, 20, 30, 30, 30, 30, 30]);
  },
);

it('an event that Postgres refuses is rejected after two days, or after five tries when EVENTS is nearly full', () => {
  const hour = 3_600_000;
  const young = { ageMs: hour, deliveryCount: 5, eventsNearlyFull: false };
  const refusal = errorOf('22P05');
  expect(mustReject(refusal, young)).toBe(false);
  expect(mustReject(refusal, { ...young, ageMs: 48 * hour })).toBe(true);
  expect(mustReject(refusal, { ...young, eventsNearlyFull: true })).toBe(true);
  expect(mustReject(refusal, { ...young, deliveryCount: 4, eventsNearlyFull: true })).toBe(false);
  // A locked table is a temporary problem: the event is kept.
  expect(mustReject(errorOf('55P03'), { ...young, eventsNearlyFull: true })).toBe(false);
});
