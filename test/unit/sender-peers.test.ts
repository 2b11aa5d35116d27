import { pino } from 'pino';
import { Registry } from 'prom-client';
import { expect, test, vi } from 'vitest';
import { SenderPeers } from '../../src/delivery/sending/sender-peers.ts';
import { createCoreNats } from '../support/core-nats.ts';

function createInstallation() {
  const addProcess = createCoreNats();
  let now = 0;
  return {
    advance: (ms: number) => void (now += ms),
    add: () => {
      const { nats, open, connect, disconnect } = addProcess();
      const metrics = new Registry();
      const peers = new SenderPeers({ nats, log: pino({ level: 'silent' }), metrics, now: () => now });
      open();
      connect();
      const count = async () => (await metrics.getSingleMetric('webhooks_senders')?.get())?.values[0]?.value;
      return { peers, count, ready: connect, disconnect };
    },
  };
}

test('a single sender has the whole limit', async () => {
  const { peers, count } = createInstallation().add();
  expect([await count(), peers.shareOf(10), peers.shareOf(1)]).toEqual([1, 10, 1]);
});

test('the shares of several senders add up to the limit, and each is at least 1', async () => {
  const installation = createInstallation();
  const all = [installation.add(), installation.add(), installation.add()];
  expect(await Promise.all(all.map(({ count }) => count()))).toEqual([3, 3, 3]);
  const senders = all.map(({ peers }) => peers);
  const total = (limit: number) => senders.reduce((sum, peers) => sum + peers.shareOf(limit), 0);
  expect([3, 4, 5, 10, 100].map(total)).toEqual([3, 4, 5, 10, 100]);
  expect(senders.map((peers) => peers.shareOf(1))).toEqual([1, 1, 1]);
});

test('a sender that stops is no longer counted at once', async () => {
  const installation = createInstallation();
  const [one, two] = [installation.add(), installation.add()];
  await two.peers.stop();
  expect([await one.count(), one.peers.shareOf(10)]).toEqual([1, 10]);
});

test('a killed sender is no longer counted, but one that was disconnected together with this one is', async () => {
  const installation = createInstallation();
  const [one, two, three] = [installation.add(), installation.add(), installation.add()];
  two.disconnect();
  installation.advance(8_000);
  one.disconnect();
  three.disconnect();
  one.ready();
  three.ready();
  expect(await one.count()).toBe(3);
  vi.useFakeTimers();
  one.peers.start();
  three.peers.start();
  for (let waitedMs = 0; waitedMs < 8_000; waitedMs += 2_000) {
    installation.advance(2_000);
    vi.advanceTimersByTime(2_000);
  }
  vi.useRealTimers();
  expect([await one.count(), await three.count()]).toEqual([2, 2]);
  await Promise.all([one.peers.stop(), three.peers.stop()]);
});
