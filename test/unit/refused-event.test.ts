import { expect, it } from 'vitest';
import { refusedDelayMs } from '../../src/events/refused-event.ts';

it('an event that is refused again and again waits twice as long each time, up to an hour', () => {
  const seconds = [1, 2, 3, 7, 8, 9, 100, 5_000].map((count) => refusedDelayMs(count) / 1_000);
  expect(seconds).toEqual([30, 60, 120, 1_920, 3_600, 3_600, 3_600, 3_600]);
});
