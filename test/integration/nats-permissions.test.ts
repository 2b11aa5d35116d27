import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, Events, type NatsConnection } from 'nats';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { Heartbeat } from '../../src/nats/heartbeat.ts';
import { natsNames } from '../../src/nats/names.ts';
import { probeNats } from '../../src/nats/probe.ts';
import { RollCall } from '../../src/nats/roll-call.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { createTestDatabase } from '../support/database.ts';
import { startNatsServer } from '../support/nats.ts';
import { startNatsParts } from '../support/nats-parts.ts';
import { findOwnPort } from '../support/own-port.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { createTempFolder } from '../support/temp-folder.ts';
import { startTestApp, TEST_SEAL, type TestApp } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const PAGE = join(import.meta.dirname, '../../docs/nats-server.md');
const PASSWORDS = { engine: 'change me 1', orders: 'change me 2', globex: 'change me 3', older: 'change me 4' };
type User = keyof typeof PASSWORDS;

let port: number;
let app: TestApp;
let receiver: Receiver;
let logged = '';
const cleanUps = createCleanUps(afterAll);

beforeAll(async () => {
  const [, accounts = ''] = /^```conf\n(.*?)^```$/ms.exec(await readFile(PAGE, 'utf8')) ?? [];
  const folder = await createTempFolder();
  cleanUps.push(() => folder.remove());
  port = await findOwnPort();
  const file = join(folder.path, 'nats.conf');
  const listen = `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${folder.path}" }\n`;
  // The engine's user before it had the permission for `processes.*`.
  const [, engine = ''] = /(\{\s+user: engine.*?\n {6}\}\n)/s.exec(accounts) ?? [];
  const older = engine
    .replace('user: engine, password: "change me 1"', 'user: older, password: "change me 4"')
    .replaceAll(', "processes.*"', '');
  await writeFile(file, `${listen}${accounts.replace(engine, `${engine}${older}`)}`);
  const server = await startNatsServer(port, ['-c', file]);
  cleanUps.push(() => server.stop());
  const database = await createTestDatabase();
  cleanUps.push(() => database.drop());
  // The first attempts fail, so that there are retries.
  receiver = await startReceiver((_, index) => ({ status: index < 2 ? 500 : 200 }));
  cleanUps.push(() => receiver.close());
  const url = `nats://engine:${encodeURIComponent(PASSWORDS.engine)}@127.0.0.1:${port}`;
  const log = pino({ level: 'warn' }, { write: (line: string) => void (logged += line) });
  app = await startTestApp({ databaseUrl: database.url, nats: { url } }, { log });
  cleanUps.push(() => app.stop());
});

/** Connects as one of the users of the page, and returns the permissions that the server has denied. */
async function logIn(user: User): Promise<{ connection: NatsConnection; refused: () => Promise<string[]> }> {
  const inboxPrefix = user === 'engine' || user === 'older' ? '_INBOX_webhooks' : '_INBOX';
  const connection = await connect({ port, user, pass: PASSWORDS[user], inboxPrefix });
  cleanUps.push(() => connection.close());
  const refusals: string[] = [];
  const watch = async () => {
    for await (const { type, permissionContext: denied } of connection.status()) {
      if (type === Events.Error && denied !== undefined) refusals.push(`${denied.operation} ${denied.subject}`);
    }
  };
  void watch();
  const refused = async () => {
    // The server reports a denial before it answers the ping of a flush.
    await connection.flush();
    return refusals;
  };
  return { connection, refused };
}

const deliveredTypes = () => receiver.requests.map(({ headers }) => headers['webhook-event']);

it('with the accounts of the documentation, publishers can publish, and the program can deliver, retry and announce', async () => {
  await app.subscribe({ url: receiver.url });
  await app.subscribe({ url: receiver.url, tenant: 'globex' });
  const globex = await logIn('globex');
  const seen: string[] = [];
  globex.connection.subscribe('>', { callback: (_, { subject }) => void seen.push(subject) });
  const orders = await logIn('orders');
  expect(await orders.connection.jetstream().publish('events.acme.order.created', '{}')).toMatchObject({ seq: 1 });
  expect(await globex.connection.jetstream().publish('events.globex.hello', '{}')).toMatchObject({ seq: 2 });
  await receiver.waitForRequests(4);
  expect(new Set(deliveredTypes())).toEqual(new Set(['order.created', 'hello']));
  expect(logged).not.toContain('does not allow');
  // Only subjects of its own account and its own replies.
  expect(seen.filter((subject) => !/^(?:_INBOX\.|events\.globex\.)/.test(subject))).toEqual([]);
});

it('an attempt is announced to the watchers of the log in every process', async () => {
  const spy = await logIn('engine');
  const announced: string[] = [];
  spy.connection.subscribe('log.*', { callback: (_, { subject }) => void announced.push(subject) });
  spy.connection.publish('readers', TEST_SEAL.seal('readers', Buffer.from('reading')));
  await spy.connection.flush();
  const orders = await logIn('orders');
  await orders.connection.jetstream().publish('events.acme.order.paid', '{}');
  await waitFor(() => announced.includes('log.acme'), { what: 'the announcement' });
  expect(await spy.refused()).toEqual([]);
});

it('doctor finds the permissions that a user lacks', async () => {
  const findDenied = async (user: User) => {
    const server = `nats://${user}:${encodeURIComponent(PASSWORDS[user])}@127.0.0.1:${port}`;
    const findings = await probeNats({ servers: [server], names: natsNames() });
    return findings.flatMap(({ subject, result, text }) => (subject === 'permissions' ? [`${result}: ${text}`] : []));
  };
  expect(await findDenied('engine')).toEqual([]);
  const denied = (await findDenied('orders')).join('\n');
  const advisory = '$JS.EVENT.ADVISORY.CONSUMER.CREATED.DELIVERIES.sender';
  for (const subject of ['log.*', 'senders', 'readers', advisory]) {
    expect(denied).toContain(`failed: the NATS user lacks the permission to subscribe to ${subject}`);
  }
  expect(await findDenied('older')).toEqual([
    'warning: the NATS user lacks the permission to subscribe to processes.*',
  ]);
});

it('without the permission for processes.* the program is ready, with a warning', async () => {
  const server = `nats://older:${encodeURIComponent(PASSWORDS.older)}@127.0.0.1:${port}`;
  const { natsClient } = startNatsParts({ servers: [server], log: pino({ level: 'silent' }) });
  cleanUps.push(() => natsClient.stop());
  const rollCall = new RollCall({
    nats: natsClient,
    log: pino({ level: 'silent' }),
    report: () => Promise.resolve('own'),
    parse: String,
  });
  await waitFor(() => natsClient.connected, { what: 'NATS' });
  await rollCall.ask();
  await waitFor(() => natsClient.warnings.length > 0, { what: 'the warning' });
  expect(natsClient.warnings[0]).toMatch(/^the NATS user lacks the permission to \w+ (?:to )?processes\./);
  expect(natsClient.streamWarnings).toEqual([]);
  expect(natsClient.problems).toEqual([]);
});

it('a denied subscription is reported until it is permitted, and then made', async () => {
  const folder = await createTempFolder();
  cleanUps.push(() => folder.remove());
  const ownPort = await findOwnPort();
  const file = join(folder.path, 'nats.conf');
  const configure = (permissions: string) =>
    writeFile(
      file,
      `listen: "127.0.0.1:${ownPort}"
       jetstream { store_dir: "${folder.path}" }
       authorization { users: [{ user: engine, password: p, permissions { publish: ">", ${permissions} } }] }`,
    );
  await configure('subscribe: { deny: ["senders", "log.*"] }');
  const server = await startNatsServer(ownPort, ['-c', file]);
  cleanUps.push(() => server.stop());
  const log = pino({ level: 'silent' });
  const servers = [`nats://engine:p@127.0.0.1:${ownPort}`];
  const { natsClient, feed } = startNatsParts({ servers, log, checkIntervalMs: 100 });
  cleanUps.push(() => natsClient.stop());
  const received = new Set<string>();
  const heartbeat = new Heartbeat(
    { nats: natsClient, log },
    { kind: 'senders', onBeat: () => void received.add('heartbeat'), onReady: () => undefined },
  );
  feed.watch({ onAttempt: () => void received.add('attempt'), onGap: () => undefined });
  const isDenied = () => /permission to subscribe to (?:senders|log)/.test(natsClient.problems.join());
  await waitFor(() => natsClient.connected && isDenied(), { what: 'the denial' });
  const realNow = performance.now.bind(performance);
  let passedMs = 120_000;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => realNow() + passedMs);
  cleanUps.push(() => {
    clock.mockRestore();
    return Promise.resolve();
  });
  await waitFor(isDenied, { what: 'the denial, two minutes later' });
  await configure('subscribe: ">"');
  server.reload();
  const announce = () => {
    heartbeat.send('beat');
    natsClient.broadcast('log.acme', Buffer.from(JSON.stringify({ startedAt: new Date().toISOString() })));
    return received.size === 2;
  };
  await waitFor(announce, { what: 'the heartbeat and the attempt' });
  passedMs *= 2;
  // A request that the jump of the clock timed out is repeated.
  await waitFor(() => natsClient.connected && natsClient.problems.length === 0, { what: 'the end of the denial' });
});

it('the processes of the installation ask each other for their state', async () => {
  const spy = await logIn('engine');
  const questions: string[] = [];
  spy.connection.subscribe('processes.*', { callback: (_, { data }) => void questions.push(data.toString()) });
  await spy.connection.flush();
  const { server } = await app.graphql<{ server: unknown }>('{ server { processes { problem nodes { pid } } } }');
  expect(server).toEqual({ processes: { problem: null, nodes: [{ pid: process.pid }] } });
  expect(questions).toHaveLength(1);
  spy.connection.publish('processes.all', '');
  expect(await spy.refused()).toEqual([]);
});

it.each<[User, { publish: string[]; subscribe: string[] }]>([
  [
    'orders',
    {
      publish: [
        'events.globex.a',
        'deliveries.s',
        'log.acme',
        'processes.all',
        '$JS.API.STREAM.DELETE.EVENTS',
        '_INBOX_webhooks.a',
      ],
      subscribe: ['>', 'events.acme.>', 'deliveries.*', 'log.acme', 'processes.*', '_INBOX_webhooks.>'],
    },
  ],
  [
    'engine',
    {
      publish: [
        ...['events.acme.a', '$JS.API.STREAM.DELETE.EVENTS', '$JS.API.STREAM.PURGE.DELIVERIES', 'else'],
        ...['$JS.API.STREAM.CREATE.OTHER', '$JS.API.STREAM.UPDATE.DELIVERIES', '$JS.API.CONSUMER.INFO.EVENTS.other'],
      ],
      subscribe: ['>', 'events.>', 'deliveries.*', '_INBOX.>', '$JS.>'],
    },
  ],
])('the user %s of the documentation has no other permissions', async (user, { publish, subscribe }) => {
  const { connection, refused } = await logIn(user);
  for (const subject of publish) connection.publish(subject, '{}');
  for (const subject of subscribe) connection.subscribe(subject, { callback: () => undefined });
  const expected = [...publish.map((s) => `publish ${s}`), ...subscribe.map((s) => `subscription ${s}`)].toSorted();
  await waitFor(async () => (await refused()).length >= expected.length, { what: 'the refusals' });
  expect((await refused()).toSorted()).toEqual(expected);
});
