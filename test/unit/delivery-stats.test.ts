import { describe, expect, it } from 'vitest';
import { planStats, problemsOfStats, responseTimeOf } from '../../src/delivery-log/attempt-stats.ts';
import { problemsOfFilter } from '../../src/delivery-log/filter-input.ts';

const NOON = new Date('2026-03-01T12:00:00.000Z');
const later = (ms: number) => new Date(NOON.getTime() + ms);

describe('the range of statistics', () => {
  it('is rounded outwards to whole buckets in UTC', () => {
    const { query } = planStats({}, { from: later(1), to: later(1), bucket: 'DAY' });
    expect([query.fromMs, query.toMs].map((ms) => new Date(ms).toISOString())).toEqual([
      '2026-03-01T00:00:00.000Z',
      '2026-03-02T00:00:00.000Z',
    ]);
  });

  it('is not changed if it consists of whole buckets, and may be empty', () => {
    const { query } = planStats({}, { from: NOON, to: NOON, bucket: 'HOUR' });
    expect([query.fromMs, query.toMs]).toEqual([NOON.getTime(), NOON.getTime()]);
  });

  it('rejects ids, which the counts of attempts do not have', () => {
    expect(problemsOfFilter({ ids: [] }, { use: 'statistics' })).toMatchObject([{ path: 'filter.ids' }]);
  });

  it('has at most 1,000 buckets', () => {
    expect(problemsOfStats({}, { from: NOON, to: later(60_000_000), bucket: 'MINUTE' })).toEqual([]);
    const problems = problemsOfStats({}, { from: NOON, to: later(60_000_001), bucket: 'MINUTE' });
    expect(problems).toMatchObject([{ path: 'bucket', message: expect.stringContaining('at most 1000') as unknown }]);
  });

  it('is read from the log only with buckets of a minute', () => {
    expect(planStats({}, { from: NOON, to: NOON, bucket: 'MINUTE' }).idBounds).toBeDefined();
    expect(planStats({}, { from: NOON, to: NOON, bucket: 'HOUR' }).idBounds).toBeUndefined();
  });
});

it('a class of response times differs by less than 5 % from each of its times', () => {
  for (let responseClass = 11; responseClass < 120; responseClass += 1) {
    const [shortest, longest] = [10 * 1.09 ** (responseClass - 11), 10 * 1.09 ** (responseClass - 10)];
    const told = responseTimeOf(responseClass);
    expect(told / shortest).toBeLessThan(1.05);
    expect(told / longest).toBeGreaterThan(0.95);
  }
  expect([0, 1, 10].map(responseTimeOf)).toEqual([0, 1, 10]);
});
