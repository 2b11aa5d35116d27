import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { FairSemaphore } from '../../src/lib/semaphore.ts';

/** Tasks that end on `end(name)`; `begun` lists their names in the order in which they began. */
function createWork(semaphore: FairSemaphore) {
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  return {
    begun,
    run: (name: string) =>
      semaphore.run(name.slice(0, 1), () => {
        begun.push(name);
        return new Promise<void>((resolve) => ends.set(name, resolve));
      }),
    end: async (name: string) => {
      ends.get(name)?.();
      await setImmediate();
    },
  };
}

test('a task that only waits releases its permit, and acquires one before it continues', async () => {
  const semaphore = new FairSemaphore({ max: 2, maxPerKey: 1 });
  const { begun, run, end } = createWork(semaphore);
  let answer: () => void = () => undefined;
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const waiting = semaphore.run('a', async (rest) => {
    await rest(() => answered);
    begun.push('a goes on');
  });
  void run('a1');
  await setImmediate();
  expect(begun).toEqual(['a1']);
  answer();
  await setImmediate();
  expect(begun).toEqual(['a1']);
  await end('a1');
  await waiting;
  expect(begun).toEqual(['a1', 'a goes on']);
  expect(semaphore.waitingOf('a')).toBe(0);
});

test('tasks start round-robin by key, however many tasks of one key are waiting', async () => {
  const { begun, run, end } = createWork(new FairSemaphore({ max: 1, maxPerKey: 1 }));
  for (const name of ['a1', 'a2', 'a3', 'b1', 'b2', 'c1']) void run(name);
  await setImmediate();
  const expected = ['a1', 'a2', 'b1', 'c1', 'a3', 'b2'];
  for (const name of expected) await end(name);
  expect(begun).toEqual(expected);
});

test('the number of running tasks is limited in total and by key', async () => {
  const { begun, run, end } = createWork(new FairSemaphore({ max: 3, maxPerKey: 2 }));
  for (const name of ['a1', 'a2', 'a3', 'b1', 'b2']) void run(name);
  await setImmediate();
  expect(begun).toEqual(['a1', 'a2', 'b1']);
  await end('b1');
  expect(begun).toEqual(['a1', 'a2', 'b1', 'b2']);
  await end('a2');
  expect(begun).toEqual(['a1', 'a2', 'b1', 'b2', 'a3']);
});

test('a failed task releases its permit and rejects its promise', async () => {
  const semaphore = new FairSemaphore({ max: 1, maxPerKey: 1 });
  const failed = semaphore.run('a', () => Promise.reject(new Error('no')));
  const next = semaphore.run('a', () => Promise.resolve('yes'));
  expect(semaphore.waitingOf('a')).toBe(1);
  await expect(failed).rejects.toThrow('no');
  expect(await next).toBe('yes');
  expect(semaphore.waitingOf('a')).toBe(0);
});
