import { pino } from 'pino';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createRejectionLog } from '../../src/events/refused-event.ts';

type Line = { readonly subject: string; readonly reason: string; readonly why?: string; readonly leftOut: number };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function startLog() {
  const lines: Line[] = [];
  // `as`: the log writes lines with these fields.
  const write = (line: string) => void lines.push(JSON.parse(line) as Line);
  const logRejected = createRejectionLog(pino({ base: null }, { write }));
  const reject = (count: number, reason = 'INVALID_JSON') => {
    const event = { id: 'id', tenant: 'acme', subject: 'events.acme.order', reason, message: 'the data', sizeBytes: 3 };
    logRejected(Array.from({ length: count }, () => event));
  };
  return { lines, reject };
}

it('the first rejected event is logged at once, with its subject and the reason', () => {
  const { lines, reject } = startLog();
  reject(1);
  expect(lines).toMatchObject([{ subject: 'events.acme.order', reason: 'INVALID_JSON', why: 'the data', leftOut: 0 }]);
});

it('of many rejected events, one a second is logged, with the number of those that were not', () => {
  const { lines, reject } = startLog();
  reject(100);
  vi.advanceTimersByTime(999);
  reject(100);
  expect(lines).toHaveLength(1);
  vi.advanceTimersByTime(1);
  expect(lines.map(({ leftOut }) => leftOut)).toEqual([0, 198]);
  vi.advanceTimersByTime(5_000);
  expect(lines).toHaveLength(2);
  reject(1);
  expect(lines.map(({ leftOut }) => leftOut)).toEqual([0, 198, 0]);
});

it('schema violations are not logged, because they name members of the data', () => {
  const { lines, reject } = startLog();
  reject(1, 'SCHEMA_MISMATCH');
  expect(lines).toHaveLength(1);
  expect(lines[0]).not.toHaveProperty('why');
});
