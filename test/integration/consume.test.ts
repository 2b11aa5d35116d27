import { connect, type NatsConnection } from 'nats';
import { pino } from 'pino';
import { expect, it } from 'vitest';
import { consume } from '../../src/nats/consume.ts';
import { natsNames } from '../../src/nats/names.ts';
import { StreamReconciler } from '../../src/nats/reconcile.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { startTestNats, type TestNats } from '../support/nats.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

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
  /** Stops consuming. Messages that arrive afterwards are returned to JetStream. */
  readonly stop: () => Promise<void>;
};

/** Consumes the messages of the sender, and records them and the log. */
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

it('a consumer that gets no messages although there are some starts a new pull', async () => {
  const server = await startServer();
  const direct = await connectTo(server.port);
  await new StreamReconciler({ log: pino({ level: 'silent' }), now: Date.now }).check(await direct.jetstreamManager());
  // The proxy drops every pull request with the first inbox, including repeats by the client.
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

it('a consumer of an empty stream is not changed', async () => {
  const server = await startServer();
  const connection = await connectTo(server.port);
  const jsm = await connection.jetstreamManager();
  await new StreamReconciler({ log: pino({ level: 'silent' }), now: Date.now }).check(jsm);
  const { bodies, logged } = startConsuming(connection);
  // Enough checks, over a longer time than a pull request lasts.
  let infos = 0;
  connection.subscribe('$JS.API.CONSUMER.INFO.DELIVERIES.sender', { callback: () => void (infos += 1) });
  await waitFor(() => infos >= 8, { what: 'the watchdog to ask' });
  expect(logged()).toBe('');
  await connection.jetstream().publish('deliveries.s1', 'as usual');
  await waitFor(() => bodies.length === 1, { what: 'the message' });
});

it('a request that is being repeated when JetStream is asked is not missing', async () => {
  const server = await startServer();
  const direct = await connectTo(server.port);
  await new StreamReconciler({ log: pino({ level: 'silent' }), now: Date.now }).check(await direct.jetstreamManager());
  let answers = 0;
  // The proxy answers every second time as at the moment between two requests.
  const proxy = await startTcpProxy({
    port: server.port,
    toClient: (text) =>
      text.replaceAll('"num_waiting":1,', (field) => ((answers += 1) % 2 === 1 ? '"num_waiting":0,' : field)),
  });
  cleanUps.push(() => proxy.stop());
  const { logged } = startConsuming(await connectTo(proxy.port));
  await waitFor(() => answers >= 6, { what: 'the answers' });
  expect(logged()).toBe('');
});

it('a stop returns messages in transit, so that another consumer gets them at once', async () => {
  const server = await startServer();
  const direct = await connectTo(server.port);
  const jsm = await direct.jetstreamManager();
  await new StreamReconciler({ log: pino({ level: 'silent' }), now: Date.now }).check(jsm);
  const first = startConsuming(await connectTo(server.port));
  const second = startConsuming(direct);
  const waiting = async () => (await jsm.consumers.info('DELIVERIES', 'sender')).num_waiting;
  await waitFor(async () => (await waiting()) === 2, { what: 'both consumers' });
  // Each consumer gets half, more than the socket buffers hold: most messages are in transit when the first one arrives.
  const published = Array.from({ length: 60 }, (_, index) => `${index} ${'x'.repeat(200_000)}`);
  const stopped = waitFor(() => first.bodies.length > 0, { what: 'the first message' }).then(() => first.stop());
  await Promise.all(published.map((body) => direct.jetstream().publish('deliveries.s1', body)));
  await stopped;
  // Earlier than the ack wait of 60 s.
  const received = () => new Set([...first.bodies, ...second.bodies]);
  await waitFor(() => received().size === published.length, { what: 'the returned messages' });
});
