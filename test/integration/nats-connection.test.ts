import { connect } from 'nats';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { type DeliveryMessage, messageId } from '../../src/delivery/queue/message.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { NoAnswerError } from '../../src/nats/publisher.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { startNatsServer } from '../support/nats.ts';
import { type NatsParts, startNatsParts } from '../support/nats-parts.ts';
import { findOwnPort } from '../support/own-port.ts';
import type { ServerProcess } from '../support/server-process.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { createTempFolder } from '../support/temp-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

async function startServer(...args: string[]): Promise<string> {
  return `127.0.0.1:${await startServerOnPort(...args)}`;
}

async function startServerOnPort(...args: string[]): Promise<number> {
  return (await startServerProcess(...args)).port;
}

async function startServerProcess(...args: string[]): Promise<{ port: number; server: ServerProcess }> {
  const folder = await createTempFolder();
  const port = await findOwnPort();
  const common = ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', folder.path];
  const server = await startNatsServer(port, [...common, ...args]);
  cleanUps.push(
    () => folder.remove(),
    () => server.stop(),
  );
  return { port, server };
}

function startBus(url: string): NatsParts & { logged: () => string } {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
  const parts = startNatsParts({ servers: [url], log });
  cleanUps.push(() => parts.natsClient.stop());
  return { ...parts, logged: () => lines.join('') };
}

it('the name and password in the URL are sent to the server, which accepts only the right ones', async () => {
  const server = await startServer('--user', 'engine', '--pass', 'p@ss');
  const right = startBus(`nats://engine:p%40ss@${server}`);
  await waitFor(() => right.natsClient.connected, { what: 'the connection' });
  const wrong = startBus(`nats://engine:nope@${server}`);
  await waitFor(() => wrong.logged().includes('NATS is unavailable'), { what: 'the refusal' });
  expect(wrong.natsClient.connected).toBe(false);
  expect(wrong.logged()).not.toContain('nope');
});

it('a token in the URL is sent to the server', async () => {
  const server = await startServer('--auth', 'open-sesame');
  const { natsClient } = startBus(`nats://open-sesame@${server}`);
  await waitFor(() => natsClient.connected, { what: 'the connection' });
});

it('tls:// never connects in plain text', async () => {
  const server = await startServer();
  const { natsClient, logged } = startBus(`tls://${server}`);
  await waitFor(() => logged().includes('NATS is unavailable'), { what: 'the refusal' });
  expect(natsClient.connected).toBe(false);
});

describe('a nats-server', () => {
  async function startBusOn(version: string): Promise<ReturnType<typeof startBus>> {
    const port = await startServerOnPort();
    const proxy = await startTcpProxy({
      port,
      toClient: (text) => text.replace(/"version":"[^"]*"/, `"version":"${version}"`),
    });
    cleanUps.push(() => proxy.stop());
    return startBus(`nats://127.0.0.1:${proxy.port}`);
  }

  it('older than 2.9 is rejected', async () => {
    const { natsClient, logged } = await startBusOn('2.8.4');
    await waitFor(() => logged().includes('nats-server 2.8.4 is older than 2.9'), { what: 'the refusal' });
    expect(natsClient.connected).toBe(false);
  });

  it('older than 2.12.5 causes a warning', async () => {
    const { natsClient, logged } = await startBusOn('2.12.4');
    await waitFor(() => natsClient.connected, { what: 'the connection' });
    expect(logged()).toContain('nats-server before 2.12.5');
  });

  it('of 2.12.5 or newer causes no warning', async () => {
    const { natsClient, logged } = await startBusOn('2.12.5');
    await waitFor(() => natsClient.connected, { what: 'the connection' });
    expect(logged()).not.toContain('nats-server before');
  });
});

const message: DeliveryMessage = {
  deliveryId: uuid7(Date.now()),
  tenant: 'acme',
  subscriptionId: uuid7(Date.now()),
  subscriptionVersion: 1,
  eventId: 'e',
  eventType: 'a',
  occurredAt: new Date().toISOString(),
  enqueueCount: 1,
  mayBeDuplicate: false,
  isProbe: false,
  isTest: false,
  sendAt: undefined,
  data: undefined,
};

it('stored messages are no longer trusted to be new after the consumer was created again', async () => {
  const port = await startServerOnPort();
  const { natsClient, redeliveryGuard } = startBus(`nats://127.0.0.1:${port}`);
  await waitFor(() => natsClient.connected, { what: 'the connection' });
  const other = await connect({ port });
  cleanUps.push(() => other.close());
  const jetStream = other.jetstream();
  const jsm = await other.jetstreamManager();
  const publish = () => jetStream.publish('deliveries.s1', '', { msgID: messageId(message) });
  await publish();
  let count = 1;
  const next = async () => (await jetStream.consumers.get('DELIVERIES', 'sender')).next();
  const now = () => ({ ...message, publishedAt: Date.now() });
  const before = await next();
  expect(before !== null && redeliveryGuard.isOnlyMessage(before, now())).toBe(true);
  const { config } = await jsm.consumers.info('DELIVERIES', 'sender');
  await jsm.consumers.delete('DELIVERIES', 'sender');
  await jsm.consumers.add('DELIVERIES', config);
  const again = await next();
  expect(again?.redelivered).toBe(false);
  expect(again !== null && redeliveryGuard.isOnlyMessage(again, now())).toBe(false);
  await waitFor(
    async () => {
      await jetStream.publish('deliveries.s1', '', { msgID: messageId({ ...message, enqueueCount: (count += 1) }) });
      const fresh = await next();
      return fresh !== null && redeliveryGuard.isOnlyMessage(fresh, { ...now(), enqueueCount: count });
    },
    { what: 'new messages to be believed' },
  );
});

it('a publish without an answer rejects with a distinct error, because the message may be stored later', async () => {
  const { port, server } = await startServerProcess();
  const { natsClient, deliveries } = startBus(`nats://127.0.0.1:${port}`);
  await waitFor(() => natsClient.connected, { what: 'the connection' });
  await server.pause();
  cleanUps.push(() => server.resume());
  await expect(deliveries.publish(message)).rejects.toThrow(NoAnswerError);
});

it('a silently broken connection is detected within a minute and opened again', async () => {
  const { port, server } = await startServerProcess();
  const { natsClient } = startBus(`nats://127.0.0.1:${port}`);
  await waitFor(() => natsClient.connected, { what: 'the connection' });
  await server.pause();
  cleanUps.push(() => server.resume());
  await waitFor(() => !natsClient.connected, { what: 'the break' });
  await server.resume();
  await waitFor(() => natsClient.connected, { what: 'the connection' });
});
