import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { StartLimiter } from '../../src/delivery/sending/start-limiter.ts';

function begin(limiter: StartLimiter, tenants: readonly string[]): string[] {
  const begun: string[] = [];
  for (const tenant of tenants) void limiter.waitForStart(tenant).then(() => begun.push(tenant));
  return begun;
}

it('a limited number of attempts starts in one turn of the event loop, round-robin by tenant', async () => {
  const limiter = new StartLimiter(8);
  const begun = begin(limiter, [...Array<string>(30).fill('a'), 'b', 'c']);
  await Promise.resolve();
  expect(begun.join('')).toBe('aaaaaaaa');
  expect(limiter.waiting).toBe(24);
  await nextTurn();
  expect(begun.join('')).toBe('aaaaaaaaabcaaaaa');
  await nextTurn();
  await nextTurn();
  expect(begun).toHaveLength(32);
  expect(limiter.waiting).toBe(0);
});

it('an attempt starts at once if no other is waiting', async () => {
  const limiter = new StartLimiter();
  for (let count = 0; count < 5; count += 1) {
    const begun = begin(limiter, ['a']);
    await Promise.resolve();
    expect(begun).toEqual(['a']);
    await nextTurn();
  }
});
