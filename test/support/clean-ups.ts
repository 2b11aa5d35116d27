import { afterEach } from 'vitest';

/** Functions that stop what a test has started. */
export type CleanUps = Pick<(() => unknown)[], 'push'>;

/**
 * Runs the functions that are pushed to the result after each test, or at another hook, the newest first: a program stops
 * before its database. A failure does not prevent the others, and the first error is reported.
 */
export function createCleanUps(hook: (run: () => Promise<void>) => void = afterEach): CleanUps {
  const cleanUps: (() => unknown)[] = [];
  hook(async () => {
    const runs: Promise<unknown>[] = [];
    for (const cleanUp of cleanUps.splice(0).reverse()) {
      const run = Promise.resolve().then(cleanUp);
      runs.push(run);
      await Promise.allSettled([run]);
    }
    await Promise.all(runs);
  });
  return cleanUps;
}
