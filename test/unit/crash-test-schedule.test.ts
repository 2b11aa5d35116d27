import { describe, expect, it } from 'vitest';
import { FULL_FORM, planSchedule, SHORT_FORM } from '../crash-test/schedule.ts';

const FORMS = [
  { name: 'full', form: FULL_FORM, durationMs: 288_000 },
  { name: 'short', form: SHORT_FORM, durationMs: 20_000 },
] as const;

describe.each(FORMS)('the schedule of the $name form', ({ form, durationMs }) => {
  it('is the same for the same seed, and different for different seeds', () => {
    const plan = (seed: number) => planSchedule({ seed, form, durationMs });
    expect(plan(1)).toEqual(plan(1));
    expect(plan(1)).not.toEqual(plan(2));
  });

  it('has no overlapping disturbances of one target, and none after the end', () => {
    for (let seed = 0; seed < 50; seed += 1) {
      const busyUntil = new Map<string, number>();
      for (const { atMs, target, forMs } of planSchedule({ seed, form, durationMs })) {
        expect(atMs).toBeGreaterThan(busyUntil.get(target) ?? 0);
        expect(atMs + forMs).toBeLessThanOrEqual(durationMs);
        busyUntil.set(target, atMs + forMs);
      }
    }
  });

  it('kills and pauses every kind of process, and has endpoints fail, hang and refuse', () => {
    for (let seed = 0; seed < 50; seed += 1) {
      const schedule = planSchedule({ seed, form, durationMs });
      const kinds = new Set(schedule.map(({ kind, target }) => `${kind} ${target.replace(/-\d+$/, '')}`));
      for (const { kind, targets } of form.cards) {
        expect(kinds, `seed ${seed}`).toContain(`${kind} ${targets[0]?.replace(/-\d+$/, '') ?? ''}`);
      }
    }
  });
});
