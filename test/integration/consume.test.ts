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

type Consuming = {
  readonly bodies: string[];
  readonly logged: () => string;
  /** Messages that arrive afterwards are returned. */
  readonly stop: () => Promise<void>;
};

/** The messages that the sender receives, and the log. */
function startConsuming(connection: NatsConnection): Consuming {
  const stopping = new AbortController();
  const bodies: string[] = [];
  let logged = '';
  const log = pino({ level: 'warn' }, { write: (line: string) => void (logged += line) });
  const consuming = consume(
    {
      current: () => ({ jetStream: connection.jetstream(), signal: new AbortController().signal }),
      names: natsNames(),
      log,
      quietMs: 2_000,
    },
    {
      durable: 'sender',
      maxMessages: 50,
      signal: stopping.signal,
      onMessage: (message) => {
        if (stopping.signal.aborted) {
          message.nak();
          return;
        }
        bodies.push(message.string());
        message.ack();
      },
    },
  );
  const stop = () => {
    stopping.abort();
    return consuming;
  };
  cleanUps.push(stop);
  return { bodies, logged: () => logged, stop };
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
  expect(logged()).toContain('consumer received no messages although it should');
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

it('a stop returns the messages on their way, so that another consumer gets them at once', async () => {
  const server = await startServer();
  const direct = await connectTo(server.port);
  const jsm = await direct.jetstreamManager();
  await new StreamReconciler({ log: pino({ level: 'silent' }), now: Date.now }).check(jsm);
  const first = startConsuming(await connectTo(server.port));
  const second = startConsuming(direct);
  const waiting = async () => (await jsm.consumers.info('DELIVERIES', 'sender')).num_waiting;
  await waitFor(async () => (await waiting()) === 2, { what: 'both consumers' });
  // Each gets half, more than the buffers of a socket take: most is on its way when the first message has arrived.
  const published = Array.from({ length: 60 }, (_, index) => `${index} ${'x'.repeat(200_000)}`);
  const stopped = waitFor(() => first.bodies.length > 0, { what: 'the first message' }).then(() => first.stop());
  await Promise.all(published.map((body) => direct.jetstream().publish('deliveries.s1', body)));
  await stopped;
  // Sooner than the ack wait of 60 s.
  const received = () => new Set([...first.bodies, ...second.bodies]);
  await waitFor(() => received().size === published.length, { what: 'the returned messages' });
});
