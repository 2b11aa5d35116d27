import { expect, it } from 'vitest';
import { IdlePause } from '../../src/lib/loop.ts';

it('a loop polls less often ten seconds after the last work, and even less often after a minute', () => {
  let now = 5_000;
  const pause = new IdlePause(() => now);
  expect(pause.ms).toBe(250);
  now += 10_000;
  expect(pause.ms).toBe(1_000);
  now += 50_000;
  expect(pause.ms).toBe(2_000);
  pause.worked();
  expect(pause.ms).toBe(250);
  now += 9_999;
  expect(pause.ms).toBe(250);
});

it('the pause of a loop that knows when its next work is due ends then', () => {
  const pause = new IdlePause(() => 0);
  const dueInMs = [-1, 0, 0.2, 249.5, 1_000, Number.POSITIVE_INFINITY];
  expect(dueInMs.map((ms) => pause.before(ms))).toEqual([0, 0, 1, 250, 250, 250]);
});
