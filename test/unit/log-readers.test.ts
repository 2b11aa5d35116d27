import { pino } from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LogReaders } from '../../src/delivery-log/log-readers.ts';
import { createCoreNats } from '../support/core-nats.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function createBus() {
  const addProcess = createCoreNats();
  return () => {
    const { nats, open, connect, disconnect } = addProcess();
    const readers = new LogReaders({ nats, log: pino({ level: 'silent' }), now: Date.now });
    open();
    return { readers, connect, disconnect };
  };
}

test('a sender knows of no reader until a process reports one, and forgets it 7 s after the last report', () => {
  const add = createBus();
  const [sender, api] = [add(), add()];
  expect(sender.readers.exist).toBe(false);
  api.readers.begin();
  expect([sender.readers.exist, api.readers.exist]).toEqual([true, true]);
  vi.advanceTimersByTime(60_000);
  expect(sender.readers.exist).toBe(true);
  api.readers.end();
  vi.advanceTimersByTime(6_900);
  expect(sender.readers.exist).toBe(true);
  vi.advanceTimersByTime(200);
  expect(sender.readers.exist).toBe(false);
});

test('a process that reconnects reports its reader at once', () => {
  const add = createBus();
  const [sender, api] = [add(), add()];
  api.disconnect();
  api.readers.begin();
  expect(sender.readers.exist).toBe(false);
  api.connect();
  expect(sender.readers.exist).toBe(true);
});
