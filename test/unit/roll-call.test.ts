import { pino } from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RollCall, type RollCallResult } from '../../src/nats/roll-call.ts';
import { createCoreNats } from '../support/core-nats.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(async () => {
  // The clock of the event loop outlives a test: it must have no timer that never fires.
  await vi.advanceTimersByTimeAsync(2_000);
  vi.useRealTimers();
});

/** An installation whose processes report a text each. `publish` is that of any client that has the key. */
function createInstallation() {
  const addProcess = createCoreNats();
  let question = '';
  let warnings = 0;
  const log = pino({ level: 'warn' }, { write: () => void (warnings += 1) });
  const client = addProcess();
  client.nats.listen({
    onOpen: (connection) =>
      void connection.subscribe('processes.all', {
        callback: (_, { data }) => void (question = Buffer.from(data).toString()),
      }),
  });
  client.open();
  const publish = (token: string, body: unknown) => {
    client.nats.broadcast(`processes.${token}`, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));
  };
  return {
    publish,
    /** Answers the last question in place of a process. */
    answer: (body: unknown) => {
      publish(/"token":"(.*)"/.exec(question)?.[1] ?? '', body);
    },
    warnings: () => warnings,
    add: (name: string, report: () => Promise<string> = () => Promise.resolve(name)) => {
      const { nats, open, connect, disconnect } = addProcess();
      const rollCall = new RollCall<string>({ nats, log, report, parse: parseText });
      open();
      return { rollCall, connect, disconnect };
    },
  };
}

function parseText(report: unknown): string {
  if (typeof report === 'string') return report;
  throw new Error('not a text');
}

/** The result, and how many milliseconds it took. */
async function finish<T>(asking: Promise<RollCallResult<T>>): Promise<{ result: RollCallResult<T>; tookMs: number }> {
  const begun = Date.now();
  let result: RollCallResult<T> | undefined;
  void asking.then((value) => void (result = value));
  while (result === undefined) await vi.advanceTimersByTimeAsync(10);
  return { result, tookMs: Date.now() - begun };
}

const namesIn = ({ entries }: RollCallResult<string>) =>
  entries.map(({ report, hasAnswered }) => (hasAnswered ? report : `${report} (silent)`)).toSorted();

test('every process answers; only the first roll call lasts as long as a process may take', async () => {
  const installation = createInstallation();
  const one = installation.add('one');
  for (const name of ['two', 'three']) installation.add(name);
  const first = await finish(one.rollCall.ask());
  expect(first.result.problems).toEqual([]);
  expect(namesIn(first.result)).toEqual(['one', 'three', 'two']);
  expect(first.tookMs).toBeGreaterThanOrEqual(1_000);
  const second = await finish(one.rollCall.ask());
  expect(namesIn(second.result)).toEqual(['one', 'three', 'two']);
  expect(second.tookMs).toBeGreaterThanOrEqual(250);
  expect(second.tookMs).toBeLessThan(500);
});

test('callers at the same time share one roll call', async () => {
  const installation = createInstallation();
  let reports = 0;
  const one = installation.add('one');
  installation.add('two', () => Promise.resolve(`report ${(reports += 1)}`));
  const asking = [one.rollCall.ask(), one.rollCall.ask()];
  for (const each of asking) expect(namesIn((await finish(each)).result)).toEqual(['one', 'report 1']);
});

test('a process that was killed is silent for 5 minutes, for which a roll call lasts until its deadline', async () => {
  const installation = createInstallation();
  const [one, two] = [installation.add('one'), installation.add('two')];
  await finish(one.rollCall.ask());
  two.disconnect();
  await vi.advanceTimersByTimeAsync(290_000);
  const { result, tookMs } = await finish(one.rollCall.ask());
  expect(namesIn(result)).toEqual(['one', 'two (silent)']);
  expect(tookMs).toBeGreaterThanOrEqual(1_000);
  expect(result.entries[1]?.answeredMsAgo).toBeGreaterThan(290_000);
  await vi.advanceTimersByTimeAsync(10_000);
  const later = await finish(one.rollCall.ask());
  expect(namesIn(later.result)).toEqual(['one']);
  expect(later.tookMs).toBeLessThan(500);
});

test('a process that stops is forgotten at once, and answers nothing any more', async () => {
  const installation = createInstallation();
  const [one, two] = [installation.add('one'), installation.add('two')];
  await finish(one.rollCall.ask());
  await two.rollCall.stop();
  await two.rollCall.stop();
  expect(namesIn((await finish(one.rollCall.ask())).result)).toEqual(['one']);
});

test('a process that answers late is silent, and counts from the next roll call on', async () => {
  const installation = createInstallation();
  const one = installation.add('one');
  await finish(one.rollCall.ask());
  installation.add('slow', async () => {
    await new Promise((resolve) => void setTimeout(resolve, 600));
    return 'slow';
  });
  expect(namesIn((await finish(one.rollCall.ask())).result)).toEqual(['one']);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(namesIn((await finish(one.rollCall.ask())).result)).toEqual(['one', 'slow']);
});

test('without NATS a process lists itself at once, with the reason', async () => {
  const installation = createInstallation();
  const one = installation.add('one');
  installation.add('two');
  one.disconnect();
  const { result, tookMs } = await finish(one.rollCall.ask());
  expect(result).toMatchObject({ problems: ['NATS is not connected'], entries: [{ report: 'one' }] });
  expect(tookMs).toBeLessThan(100);
});

test('invalid messages are dropped and logged, and the others count', async () => {
  const installation = createInstallation();
  const one = installation.add('one');
  installation.add('two');
  const asking = one.rollCall.ask();
  const invalid = ['no JSON', '[]', '"text"', { report: 'x' }, { id: 'a b', report: 'x' }, { id: 'c', report: 7 }, ''];
  for (const body of invalid) installation.answer(body);
  installation.answer({ id: 'large', report: 'x'.repeat(17_000) });
  installation.answer({ id: 'three', report: 'three' });
  for (const body of ['no JSON', {}, { token: '>' }, { token: `${'a'.repeat(21)}.` }])
    installation.publish('all', body);
  expect(namesIn((await finish(asking)).result)).toEqual(['one', 'three', 'two']);
  expect(installation.warnings()).toBeGreaterThan(0);
});

test('an answer after the end of a roll call does not count', async () => {
  const installation = createInstallation();
  const one = installation.add('one');
  void one.rollCall.ask();
  installation.answer({ id: 'two', report: 'two' });
  await vi.advanceTimersByTimeAsync(1_100);
  installation.answer({ id: 'three', report: 'three' });
  expect(namesIn((await finish(one.rollCall.ask())).result)).toEqual(['one', 'two (silent)']);
});

test('at most 256 processes are listed', async () => {
  const installation = createInstallation();
  const one = installation.add('one');
  for (let round = 0; round < 2; round += 1) {
    const asking = one.rollCall.ask();
    for (let id = 0; id < 300; id += 1) installation.answer({ id: `${round}-${id}`, report: 'x' });
    expect((await finish(asking)).result.entries).toHaveLength(256);
  }
});

test('a process answers at most 50 questions a second', async () => {
  const installation = createInstallation();
  let reports = 0;
  installation.add('one', () => Promise.resolve(`report ${(reports += 1)}`));
  const ask = () => {
    for (let count = 0; count < 200; count += 1) installation.publish('all', { from: 'x', token: 'a'.repeat(22) });
  };
  ask();
  expect(reports).toBe(50);
  await vi.advanceTimersByTimeAsync(1_000);
  ask();
  expect(reports).toBe(100);
});

test('a question whose token is no part of a subject is not answered', () => {
  const installation = createInstallation();
  let reports = 0;
  installation.add('one', () => Promise.resolve(`report ${(reports += 1)}`));
  for (const token of ['>', '*', '', `${'a'.repeat(20)}.b`, `${'a'.repeat(22)} `, 'a'.repeat(23), 7]) {
    installation.publish('all', { from: 'x', token });
  }
  expect(reports).toBe(0);
});
