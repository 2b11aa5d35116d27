import { expect, test } from 'vitest';
import { healthInWords } from './health-in-words.ts';

const part = { name: 'database', isOk: true, isNeeded: true, message: null, warnings: [] };
const nats = { ...part, name: 'nats', isOk: false, message: 'NATS does not answer' };

test('a server whose parts all work has one line', () => {
  expect(healthInWords({ isReady: true, parts: [part, { ...part, name: 'start' }] })).toEqual({
    tone: 'success',
    summary: 'All parts of the server work',
    problems: [],
  });
});

test('a needed part that fails is named with its message', () => {
  expect(healthInWords({ isReady: false, parts: [part, nats] })).toEqual({
    tone: 'failure',
    summary: 'The server is not ready',
    problems: [{ part: 'NATS', tone: 'failure', text: 'NATS does not answer' }],
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
      { part: 'NATS', tone: 'waiting', text: 'NATS does not answer. The process that answered works without it' },
      { part: 'new part', tone: 'failure', text: 'It does not work' },
    ],
  });
});
