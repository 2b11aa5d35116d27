import { expect, test } from 'vitest';
import { type Block, type Phase, ratioOf, rowsOf } from '../../bench/isolation-report.ts';

const phase = (kind: Phase['kind'], p95: number, missing = 0): Phase => ({
  kind,
  from: 0,
  to: 1_000,
  cpu: undefined,
  events: 100,
  p50: 1,
  p95,
  p99: p95,
  max: p95,
  late: 0,
  missing,
  lost: 0,
  duplicates: 0,
});

const block = (...phases: Phase[]): Block => ({ name: 'X', phases });

test('the ratio is that of the medians, so that one bad block does not decide it', () => {
  const alone = [10, 12, 900].map((p95) => block(phase('alone', p95)));
  const held = [15, 800, 18].map((p95) => block(phase('influx', 5_000), phase('held', p95)));
  expect(ratioOf([...alone, ...held], 'held')).toBe(1.5);
});

test('a percentile that depends on events which had not arrived is shown as a lower bound', () => {
  const [exact, bound] = rowsOf([block(phase('held', 20, 5)), block(phase('held', 20, 6))]);
  expect([exact?.['p95 ms'], exact?.['p99 ms']]).toEqual(['20.0', '≥ 20.0']);
  expect(bound?.['p95 ms']).toBe('≥ 20.0');
});
