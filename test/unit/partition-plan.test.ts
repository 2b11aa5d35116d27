import { describe, expect, it } from 'vitest';
import { gapsBefore, missingRanges, type TimeRange } from '../../src/retention/partition-plan.ts';

const DAY = 86_400_000;
const day = (text: string): number => Date.parse(`${text}T00:00:00Z`);
const range = (from: string, to: string): TimeRange => ({ fromMs: day(from), toMs: day(to) });
const NOW = Date.parse('2026-11-22T06:00:00Z');

/** The partitions after a process has run for `days` with one check a day and no drops. */
function afterDays(days: number, retentionDays: number): TimeRange[] {
  const ranges: TimeRange[] = [];
  for (let past = days; past >= 0; past -= 1) {
    ranges.push(...missingRanges(ranges, { nowMs: NOW - past * DAY, retentionDays }));
  }
  return ranges;
}

describe('the partitions to create', () => {
  it('initially reach from the oldest late event to three days ahead', () => {
    expect(missingRanges([], { nowMs: NOW, retentionDays: 30 })).toEqual([
      range('2026-11-18', '2026-11-20'),
      range('2026-11-20', '2026-11-22'),
      range('2026-11-22', '2026-11-24'),
      range('2026-11-24', '2026-11-26'),
    ]);
  });

  it('do not include a partition that would be dropped at once', () => {
    expect(missingRanges([], { nowMs: NOW, retentionDays: 1 })[0]).toEqual(range('2026-11-21', '2026-11-22'));
  });

  it('begin where the last one ends, with any width', () => {
    const existing = [range('2026-11-16', '2026-11-23')];
    expect(missingRanges(existing, { nowMs: NOW, retentionDays: 7 })).toEqual([
      range('2026-11-23', '2026-11-24'),
      range('2026-11-24', '2026-11-25'),
      range('2026-11-25', '2026-11-26'),
    ]);
  });

  it('fill gaps, even if a clock far ahead has created partitions in the future', () => {
    const existing = [
      range('2026-11-18', '2026-11-21'),
      range('2026-11-24', '2026-11-25'),
      range('2030-01-01', '2030-01-03'),
    ];
    expect(missingRanges(existing, { nowMs: NOW, retentionDays: 30 })).toEqual([
      range('2026-11-21', '2026-11-23'),
      range('2026-11-23', '2026-11-24'),
      range('2026-11-25', '2026-11-27'),
    ]);
  });

  it('do not cover the time in which no process ran', () => {
    const [first] = missingRanges([range('2026-01-01', '2026-01-03')], { nowMs: NOW, retentionDays: 30 });
    expect(first?.fromMs).toBe(day('2026-11-18'));
  });

  it.each([1, 7, 15, 16, 30, 90, 365, 3_650])(
    'with RETENTION_DAYS %i are contiguous, and at most 20 are kept',
    (retentionDays) => {
      const ranges = afterDays(retentionDays * 2, retentionDays);
      for (const [index, { fromMs, toMs }] of ranges.entries()) {
        expect(toMs).toBeGreaterThan(fromMs);
        if (index > 0) expect(fromMs).toBe(ranges[index - 1]?.toMs);
      }
      expect(ranges.at(-1)?.toMs).toBeGreaterThanOrEqual(NOW + 3 * DAY);
      const kept = ranges.filter(({ toMs }) => toMs > NOW - retentionDays * DAY);
      expect(kept.length).toBeLessThanOrEqual(20);
    },
  );
});

describe('the gaps between partitions', () => {
  it('lie before, between and after them', () => {
    const existing = [range('2026-11-05', '2026-11-07'), range('2026-11-01', '2026-11-03')];
    expect(gapsBefore(day('2026-11-10'), existing)).toEqual([
      { fromMs: 0, toMs: day('2026-11-01') },
      range('2026-11-03', '2026-11-05'),
      range('2026-11-07', '2026-11-10'),
    ]);
    expect(gapsBefore(day('2026-11-02'), existing)).toEqual([{ fromMs: 0, toMs: day('2026-11-01') }]);
  });
});
