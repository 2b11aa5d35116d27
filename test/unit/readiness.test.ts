import { expect, test } from 'vitest';
import type { Role } from '../../src/config/parsers.ts';
import { createReadiness, type ReadinessCheck } from '../../src/server/health.ts';

function check(part: string, over: Partial<ReadinessCheck> = {}): ReadinessCheck {
  return {
    part,
    title: part.toUpperCase(),
    neededBy: ['api', 'dispatcher', 'sender'],
    findProblems: () => [],
    ...over,
  };
}

const broken = check('nats', { neededBy: ['dispatcher', 'sender'], findProblems: () => ['one is wrong', 'so is two'] });
const roles = (...names: Role[]) => new Set(names);

test('a process with a failed part is not ready if a role needs the part; otherwise the part is only named', async () => {
  const fine = check('database');
  expect(await createReadiness(roles('api'), [fine, broken])()).toMatchObject({
    ready: true,
    body: { database: { ok: true }, nats: { ok: false, message: 'one is wrong; so is two', needed: false } },
  });
  const needed = await createReadiness(roles('api', 'sender'), [fine, broken])();
  expect(needed.ready).toBe(false);
  expect(needed.body['nats']).toEqual({ ok: false, message: 'one is wrong; so is two' });
});

test('an error thrown by a check is not shown', async () => {
  const failing = check('database', { findProblems: () => Promise.reject(new Error('user postgres at 10.0.0.7')) });
  const { ready, body } = await createReadiness(roles('api'), [failing])();
  expect(ready).toBe(false);
  expect(body['database']).toEqual({ ok: false, message: 'DATABASE does not answer' });
});

test('all requests during a check get its result', async () => {
  let runs = 0;
  let answer: (problems: string[]) => void = () => undefined;
  const slow = check('database', {
    findProblems: () =>
      new Promise<string[]>((resolve) => {
        runs += 1;
        answer = resolve;
      }),
  });
  const ask = createReadiness(roles('api'), [slow]);
  const answers = [ask(), ask(), ask()];
  answer([]);
  expect((await Promise.all(answers)).map(({ ready }) => ready)).toEqual([true, true, true]);
  expect(runs).toBe(1);
});

test('a warning of a part is shown, and leaves the process ready', async () => {
  const crowded = check('nats', { findWarnings: () => ['the stream EVENTS is 93 % full'] });
  const { ready, body } = await createReadiness(roles('api'), [crowded])();
  expect(ready).toBe(true);
  expect(body['nats']).toEqual({ ok: true, warnings: ['the stream EVENTS is 93 % full'] });
});
