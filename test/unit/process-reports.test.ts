import { Gauge, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { findProcesses, parseReport, reportProcess } from '../../src/server/processes.ts';

const LONG = 'x'.repeat(10_000);

function report(answer: Record<string, { ok: boolean; message?: string; warnings?: string[]; needed?: false }> = {}) {
  const metrics = new Registry();
  new Gauge({ registers: [metrics], name: 'webhooks_attempts_in_flight', help: 'x' }).set(3);
  return reportProcess({
    roles: new Set(['sender']),
    worker: 2,
    metrics,
    checkReadiness: () => Promise.resolve({ ready: false, body: { version: '0', ...answer } }),
  });
}

const sent = (value: unknown): Record<string, unknown> => JSON.parse(JSON.stringify(value)) as Record<string, unknown>;

test('a report survives the way over NATS', async () => {
  const own = await report({
    database: { ok: false, message: 'Postgres does not answer' },
    nats: { ok: true, warnings: ['the stream EVENTS is 93 % full'], needed: false },
  });
  const received = parseReport({ ...sent(own), ofNewerVersion: true });
  expect(received).toMatchObject({ worker: 2, roles: ['sender'], attemptsInFlight: 3 });
  expect(sent(received)).toEqual(sent(own));
  expect(received.health).toEqual({
    isReady: false,
    parts: [
      { name: 'database', ok: false, message: 'Postgres does not answer', warnings: [] },
      { name: 'nats', ok: true, warnings: ['the stream EVENTS is 93 % full'], needed: false },
    ],
  });
});

test('the largest report fits into an answer', async () => {
  const part = { ok: false, message: LONG, warnings: Array<string>(100).fill(LONG) };
  const own = await report({ database: part, nats: part, workers: part, start: part });
  expect(JSON.stringify(own).length).toBeLessThan(10_000);
  expect(sent(parseReport(sent(own)))).toEqual(sent(own));
});

test.each([
  ['text in place of an object', () => 'text'],
  ['a long host name', (own: object) => ({ ...own, hostname: LONG })],
  ['a process id that is not a number', (own: object) => ({ ...own, pid: '1' })],
  ['a negative number', (own: object) => ({ ...own, attemptsInFlight: -1 })],
  ['a number beyond an Int', (own: object) => ({ ...own, worker: 2 ** 31 })],
  ['a time beyond the calendar', (own: object) => ({ ...own, uptimeSeconds: 1e300 })],
  ['a list of roles that is too long', (own: object) => ({ ...own, roles: Array<string>(11).fill('api') })],
  ['a role that is not a text', (own: object) => ({ ...own, roles: [{}] })],
  ['no health', (own: object) => ({ ...own, health: undefined })],
  ['a part that is not an object', (own: object) => ({ ...own, health: { isReady: true, parts: [null] } })],
  ['too many parts', (own: object) => ({ ...own, health: { isReady: true, parts: Array<object>(7).fill({}) } })],
  ['a long message', (own: object) => partOf(own, { message: LONG })],
  ['a long warning', (own: object) => partOf(own, { warnings: [LONG] })],
])('an answer of a process with %s is rejected', async (_, change) => {
  const own = sent(await report());
  expect(() => parseReport(own)).not.toThrow();
  expect(() => parseReport(change(own))).toThrow();
});

function partOf(own: object, part: object): object {
  return { ...own, health: { isReady: true, parts: [{ name: 'nats', ok: true, warnings: [], ...part }] } };
}

test('processes are in the order of their host names and ids, with times of the database', async () => {
  const own = await report();
  const entry = (id: string, over: object) => ({
    id,
    report: { ...own, ...over },
    answeredMsAgo: 0,
    hasAnswered: true,
  });
  const result = await findProcesses({
    now: () => 1_000_500,
    rollCall: {
      ask: () =>
        Promise.resolve({
          problems: ['NATS is not connected'],
          entries: [
            { ...entry('a', { hostname: 'b', pid: 7, uptimeSeconds: 10 }), answeredMsAgo: 3_000, hasAnswered: false },
            entry('b', { hostname: 'a', pid: 20 }),
            entry('c', { hostname: 'a', pid: 3, uptimeSeconds: 10 }),
          ],
        }),
    },
  });
  expect(result.problem).toBe('NATS is not connected');
  expect(result.nodes.map(({ id }) => id)).toEqual(['c', 'b', 'a']);
  expect(result.nodes[0]).toMatchObject({ startedAt: new Date(991_000), answeredAt: new Date(1_000_500) });
  expect(result.nodes[0]?.health).toBeDefined();
  expect(result.nodes[2]).toMatchObject({ answeredAt: new Date(997_500), health: undefined });
});
