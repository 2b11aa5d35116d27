import type { JsMsg, NatsConnection } from 'nats';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LogReaders } from '../../src/delivery-log/readers.ts';
import type { NatsListener } from '../../src/nats/connection.ts';
import { natsNames } from '../../src/nats/names.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** NATS core in memory: each message goes to all connected processes, the publisher included. */
function createBus() {
  const receivers = new Set<(data: Buffer) => void>();
  return () => {
    let isConnected = true;
    const listeners: NatsListener[] = [];
    const nats = {
      names: natsNames(),
      broadcast: (_subject: string, body: Uint8Array) => {
        if (isConnected) for (const receive of receivers) receive(Buffer.from(body));
      },
      open: (_kind: string, { data }: Pick<JsMsg, 'subject' | 'data'>) => Buffer.from(data),
      listen: (listener: NatsListener) => void listeners.push(listener),
    };
    const readers = new LogReaders({ nats, log: pino({ level: 'silent' }), now: Date.now });
    const subscribe = (
      _subject: string,
      { callback }: { callback: (error: null, message: { data: Buffer }) => void },
    ) =>
      void receivers.add((data) => {
        if (isConnected) callback(null, { data });
      });
    // `as`: the part of a connection that it uses.
    for (const { onOpen } of listeners) onOpen?.({ subscribe } as unknown as NatsConnection);
    const connect = () => {
      isConnected = true;
      for (const { onReady } of listeners) onReady?.();
    };
    return { readers, connect, disconnect: () => void (isConnected = false) };
  };
}

test('a sender knows of no reader until a process has one, and forgets it 7 s after the last word', () => {
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

test('a process that reconnects says at once that it has a reader', () => {
  const add = createBus();
  const [sender, api] = [add(), add()];
  api.disconnect();
  api.readers.begin();
  expect(sender.readers.exist).toBe(false);
  api.connect();
  expect(sender.readers.exist).toBe(true);
});
