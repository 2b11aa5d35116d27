import { connect, type NatsConnection } from 'nats';
import { pino } from 'pino';
import { afterEach, expect, it } from 'vitest';
import { consume } from '../../src/nats/consume.ts';
import { natsNames } from '../../src/nats/names.ts';
import { StreamReconciler } from '../../src/nats/reconcile.ts';
import { startTestNats, type TestNats } from '../support/nats.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function startServer(): Promise<TestNats> {
  const server = await startTestNats();
  cleanUps.push(() => server.stop());
  return server;
}

async function connectTo(port: number): Promise<NatsConnection> {
  const connection = await connect({ port, reconnectTimeWait: 100 });
  cleanUps.push(() => connection.close());
  return connection;
}

/** The messages that the sender receives, and the log. */
function startConsuming(connection: NatsConnection): { readonly bodies: string[]; readonly logged: () => string } {
  const stopping = new AbortController();
  const bodies: string[] = [];
  let logged = '';
  const log = pino({ level: 'warn' }, { write: (line: string) => void (logged += line) });
  const consuming = consume(
    {
      current: () => ({ jetStream: connection.jetstream(), signal: stopping.signal }),
      names: natsNames(),
      log,
      quietMs: 2_000,
    },
    {
      durable: 'sender',
      maxMessages: 50,
      signal: stopping.signal,
      onMessage: (message) => {
        bodies.push(message.string());
        message.ack();
      },
    },
  );
  cleanUps.push(() => {
    stopping.abort();
    return consuming;
  });
  return { bodies, logged: () => logged };
}

it('a consumer that gets nothing although there is something consumes anew', async () => {
  const server = await startServer();
  const direct = await connectTo(server.port);
  await new StreamReconciler({ log: pino({ level: 'silent' }), now: Date.now }).check(await direct.jetstreamManager());
  // Every pull request with the first inbox is dropped, including the client's repeats.
  let firstInbox: string | undefined;
  let lost = 0;
  const proxy = await startTcpProxy({
    port: server.port,
    toServer: (text) =>
      text.replaceAll(/PUB \$JS\.API\.CONSUMER\.MSG\.NEXT\.DELIVERIES\.sender (\S+)/g, (line, inbox: string) => {
        firstInbox ??= inbox;
        if (inbox !== firstInbox) return line;
        lost += 1;
        return `PUB lost ${inbox}`;
      }),
  });
  cleanUps.push(() => proxy.stop());
  const { bodies, logged } = startConsuming(await connectTo(proxy.port));
  await waitFor(() => lost > 0, { what: 'the request to get lost' });
  await direct.jetstream().publish('deliveries.s1', 'at last');
  await waitFor(() => bodies.length === 1, { what: 'the message' });
  expect(logged()).toContain('a consumer went quiet');
});

it('a consumer that has nothing to get is left alone', async () => {
  const server = await startServer();
  const connection = await connectTo(server.port);
  const jsm = await connection.jetstreamManager();
  await new StreamReconciler({ log: pino({ level: 'silent' }), now: Date.now }).check(jsm);
  const { bodies, logged } = startConsuming(connection);
  // Asked about often enough, and longer than a request for messages lasts.
  let infos = 0;
  connection.subscribe('$JS.API.CONSUMER.INFO.DELIVERIES.sender', { callback: () => void (infos += 1) });
  await waitFor(() => infos >= 8, { what: 'the watchdog to ask' });
  expect(logged()).toBe('');
  await connection.jetstream().publish('deliveries.s1', 'as usual');
  await waitFor(() => bodies.length === 1, { what: 'the message' });
});
