import type { JsMsg, NatsConnection } from 'nats';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { expect, test, vi } from 'vitest';
import { SenderPeers } from '../../src/delivery/sending/peers.ts';
import type { NatsListener } from '../../src/nats/connection.ts';
import { natsNames } from '../../src/nats/names.ts';

/** NATS core in memory: each message goes to all connected senders, the publisher included. */
function createBus() {
  const receivers = new Set<(data: Buffer) => void>();
  let now = 0;
  return {
    advance: (ms: number) => void (now += ms),
    add: () => {
      let isConnected = true;
      const listeners: NatsListener[] = [];
      const metrics = new Registry();
      const broadcast = (_subject: string, body: Uint8Array) => {
        if (isConnected) for (const receive of receivers) receive(Buffer.from(body));
      };
      const nats = {
        names: natsNames(),
        broadcast,
        open: (_kind: string, { data }: Pick<JsMsg, 'subject' | 'data'>) => Buffer.from(data),
        listen: (listener: NatsListener) => void listeners.push(listener),
      };
      const peers = new SenderPeers({ nats, log: pino({ level: 'silent' }), metrics, now: () => now });
      const subscribe = (
        _subject: string,
        { callback }: { callback: (error: null, message: { data: Buffer }) => void },
      ) =>
        void receivers.add((data) => {
          if (isConnected) callback(null, { data });
        });
      // `as`: the part of a connection that it uses.
      for (const { onOpen } of listeners) onOpen?.({ subscribe } as unknown as NatsConnection);
      const ready = () => {
        isConnected = true;
        for (const { onReady } of listeners) onReady?.();
      };
      ready();
      const count = async () => (await metrics.getSingleMetric('webhooks_senders')?.get())?.values[0]?.value;
      return { peers, count, ready, disconnect: () => void (isConnected = false) };
    },
  };
}

test('a sender alone has the whole limit', async () => {
  const { peers, count } = createBus().add();
  expect([await count(), peers.shareOf(10), peers.shareOf(1)]).toEqual([1, 10, 1]);
});

test('the shares of several senders are the limit together, and at least 1 each', async () => {
  const bus = createBus();
  const all = [bus.add(), bus.add(), bus.add()];
  expect(await Promise.all(all.map(({ count }) => count()))).toEqual([3, 3, 3]);
  const senders = all.map(({ peers }) => peers);
  const total = (limit: number) => senders.reduce((sum, peers) => sum + peers.shareOf(limit), 0);
  expect([3, 4, 5, 10, 100].map(total)).toEqual([3, 4, 5, 10, 100]);
  expect(senders.map((peers) => peers.shareOf(1))).toEqual([1, 1, 1]);
});

test('a sender that stops is forgotten at once', async () => {
  const bus = createBus();
  const [one, two] = [bus.add(), bus.add()];
  await two.peers.stop();
  expect([await one.count(), one.peers.shareOf(10)]).toEqual([1, 10]);
});

test('a sender that is killed is forgotten, and one that was cut off together with this one is not', async () => {
  const bus = createBus();
  const [one, two, three] = [bus.add(), bus.add(), bus.add()];
  two.disconnect();
  bus.advance(8_000);
  one.disconnect();
  three.disconnect();
  one.ready();
  three.ready();
  expect(await one.count()).toBe(3);
  vi.useFakeTimers();
  one.peers.start();
  three.peers.start();
  for (let waitedMs = 0; waitedMs < 8_000; waitedMs += 2_000) {
    bus.advance(2_000);
    vi.advanceTimersByTime(2_000);
  }
  vi.useRealTimers();
  expect([await one.count(), await three.count()]).toEqual([2, 2]);
  await Promise.all([one.peers.stop(), three.peers.stop()]);
});
