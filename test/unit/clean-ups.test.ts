import { expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';

it('all clean-ups run, the newest first, each after the end of the one before, and the first error is reported', async () => {
  let runAll: () => Promise<void> = () => Promise.resolve();
  const cleanUps = createCleanUps((run) => {
    runAll = run;
  });
  const events: string[] = [];
  cleanUps.push(
    () => events.push('oldest'),
    () => {
      throw new Error('second');
    },
    () => Promise.reject(new Error('first')),
    async () => {
      await Promise.resolve();
      events.push('newest');
    },
  );
  await expect(runAll()).rejects.toThrow('first');
  expect(events).toEqual(['newest', 'oldest']);
  await runAll();
  expect(events).toHaveLength(2);
});
