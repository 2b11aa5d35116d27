import { expect, test } from 'vitest';
import type { HealthFragment } from '../generated/graphql.ts';
import { healthInWords, processesInWords } from './health-in-words.ts';

const part = { name: 'database', isOk: true, isNeeded: true, message: null, warnings: [] };
const nats = { ...part, name: 'nats', isOk: false, message: 'NATS does not answer' };

test('a server whose parts all work has one line', () => {
  expect(healthInWords({ isReady: true, parts: [part, { ...part, name: 'start' }] })).toEqual({
    tone: 'success',
    summary: 'All parts of the server work',
    problems: [],
  });
});

test('a needed part that fails is named with its message, which does not repeat the name', () => {
  expect(healthInWords({ isReady: false, parts: [part, nats] })).toEqual({
    tone: 'failure',
    summary: 'The server is not ready',
    problems: [{ part: 'NATS', tone: 'failure', text: 'does not answer' }],
  });
});

test('a part that the process does not need says so, and warnings are listed', () => {
  const parts = [
    { ...part, warnings: ['the disk is nearly full'] },
    { ...nats, isNeeded: false },
    { ...part, name: 'new part', isOk: false },
  ];
  expect(healthInWords({ isReady: true, parts })).toEqual({
    tone: 'waiting',
    summary: 'The server works, with problems',
    problems: [
      { part: 'Postgres', tone: 'waiting', text: 'the disk is nearly full' },
      { part: 'NATS', tone: 'waiting', text: 'does not answer. The process that answered does not need it' },
      { part: 'new part', tone: 'failure', text: 'It does not work' },
    ],
  });
});

const ready = { isReady: true, parts: [part] };
const broken = { isReady: false, parts: [part, nats] };

function summaryOf(...states: (HealthFragment | null)[]): readonly string[] {
  const facts = { hostname: 'a', pid: 1, roles: ['api'], version: '0', memoryBytes: 1 };
  const times = { startedAt: '2026-01-31T12:00:00Z', answeredAt: '2026-01-31T12:00:00Z' };
  const nodes = states.map((health, index) => ({ ...facts, ...times, id: String(index), health }));
  const { tone, summary } = processesInWords({ nodes });
  return [tone, summary];
}

test('processes are counted, and so are those that are not ready or do not answer', () => {
  expect(summaryOf(ready, ready, ready)).toEqual(['success', '3 processes']);
  expect(summaryOf(ready, { ...ready, parts: [part, { ...nats, isNeeded: false }] })).toEqual([
    'waiting',
    '2 processes, with problems',
  ]);
  expect(summaryOf(ready, broken, null)).toEqual(['failure', '2 of 3 processes not ready']);
});

test('a list that can be incomplete is a problem', () => {
  expect(processesInWords({ nodes: [], problem: 'NATS is not connected' }).tone).toBe('waiting');
});
