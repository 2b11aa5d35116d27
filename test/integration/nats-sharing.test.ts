import { connect, type JetStreamManager, type NatsConnection, headers as natsHeaders, RetentionPolicy } from 'nats';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { startApp } from '../../src/app.ts';
import { readConfig } from '../../src/config/config.ts';
import { natsNames } from '../../src/nats/names.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { createTestDatabase } from '../support/database.ts';
import { scrape } from '../support/metrics.ts';
import { startTestNats, type TestNats } from '../support/nats.ts';
import { startNatsParts } from '../support/nats-parts.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTestApp, type TestApp, testEnv } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let nats: TestNats;
let connection: NatsConnection;
let jsm: JetStreamManager;

beforeAll(async () => {
  nats = await startTestNats();
  connection = await connect({ servers: nats.url });
  jsm = await connection.jetstreamManager();
});
afterAll(async () => {
  await connection.close();
  await nats.stop();
});
afterEach(async () => {
  for (const { config } of await jsm.streams.list().next()) await jsm.streams.delete(config.name);
});
// Vitest runs the newest hook first: the programs stop before their streams are deleted.
const cleanUps = createCleanUps();

type Installation = { readonly app: TestApp; readonly receiver: Receiver; readonly id: string };

async function createDatabase(): Promise<string> {
  const database = await createTestDatabase();
  cleanUps.push(() => database.drop());
  return database.url;
}

/** Starts an installation with a subscription of the tenant acme to all event types. */
async function install(prefix: string, log = pino({ level: 'silent' })): Promise<Installation> {
  const env = { NATS_PREFIX: prefix };
  const app = await startTestApp({ databaseUrl: await createDatabase(), nats }, { env, log });
  cleanUps.push(() => app.stop());
  const receiver = await startReceiver();
  cleanUps.push(() => receiver.close());
  const { id } = await app.subscribe({ url: receiver.url });
  return { app, receiver, id };
}

async function publish(subject: string, headers: Record<string, string> = {}): Promise<void> {
  const all = natsHeaders();
  for (const [name, value] of Object.entries(headers)) all.set(name, value);
  await connection.jetstream().publish(subject, '{}', { headers: all });
}

/** Watches the live log of an installation; the returned function returns its text. */
async function watch({ app }: Installation): Promise<() => string> {
  const stopping = new AbortController();
  cleanUps.push(() => {
    stopping.abort();
    return Promise.resolve();
  });
  const response = await fetch(`${app.url}/graphql`, {
    method: 'POST',
    signal: stopping.signal,
    headers: {
      accept: 'text/event-stream',
      'content-type': 'application/json',
      authorization: `Bearer ${app.adminApiKey}`,
    },
    body: JSON.stringify({ query: 'subscription { deliveryLog { eventType } }' }),
  });
  let shown = '';
  const read = async () => {
    for await (const chunk of response.body ?? []) shown += Buffer.from(chunk).toString();
  };
  read().catch(() => undefined);
  await waitFor(() => shown !== '', { what: 'the stream to begin' });
  return () => shown;
}

const typesAt = ({ receiver }: Installation) => receiver.requests.map(({ headers }) => headers['webhook-event']);

it('installations with different prefixes, or none, share a broker, and each gets its own events', async () => {
  const installations = [await install(''), await install('one'), await install('two')];
  expect((await jsm.streams.names().next()).toSorted()).toEqual(
    ['EVENTS', 'DELIVERIES', 'one_EVENTS', 'one_DELIVERIES', 'two_EVENTS', 'two_DELIVERIES'].toSorted(),
  );
  for (const [index, prefix] of ['', 'one.', 'two.'].entries()) await publish(`${prefix}events.acme.for-${index}`);
  for (const [index, installation] of installations.entries()) {
    await installation.receiver.waitForRequests(1);
    await publish(`${['', 'one.', 'two.'][index]}events.acme.last`);
    await installation.receiver.waitForRequests(2);
    expect(typesAt(installation)).toEqual([`for-${index}`, 'last']);
  }
});

it('the number of messages that wait for a sender is counted in the stream with the prefix', async () => {
  const log = pino({ level: 'silent' });
  const { natsClient, deliveries } = startNatsParts({ servers: [nats.url], names: natsNames('one'), log });
  cleanUps.push(() => natsClient.stop());
  await waitFor(() => natsClient.connected, { what: 'the connection' });
  await publish('one.deliveries.s');
  expect(await deliveries.undeliveredCount()).toBe(1);
});

it('with a foreign stream of the same name, the program reports it, is not ready, and consumes nothing', async () => {
  await jsm.streams.add({ name: 'EVENTS', subjects: ['orders.>'], retention: RetentionPolicy.Workqueue });
  await connection.jetstream().publish('orders.new', '{}');
  const databaseUrl = await createDatabase();
  let logged = '';
  const log = pino({ level: 'error' }, { write: (line: string) => void (logged += line) });
  const app = await startApp(readConfig(testEnv({ databaseUrl, nats })), { log, report: () => undefined });
  app.ready.catch(() => undefined);
  cleanUps.push(() => app.stop());
  const readiness = async () => {
    const response = await fetch(`${app.url}/health/ready`);
    return { status: response.status, text: await response.text() };
  };
  await waitFor(async () => (await readiness()).text.includes('was not created by webhooks-engine'), {
    what: 'the reason',
  });
  const { status, text } = await readiness();
  expect(status).toBe(503);
  expect(text).toContain('the stream EVENTS was not created by webhooks-engine');
  expect(text).toContain('orders.>');
  expect(logged).toContain('the stream EVENTS was not created by webhooks-engine');
  expect(await jsm.consumers.list('EVENTS').next()).toEqual([]);
  expect((await jsm.streams.info('EVENTS')).state.messages).toBe(1);
  // After its deletion, the program continues.
  await jsm.streams.delete('EVENTS');
  await app.ready;
});

it('two tenants whose events have the same Event-Id at the same time both get their events', async () => {
  const { app, receiver } = await install('');
  await app.subscribe({ tenant: 'globex', url: receiver.url });
  const publishBoth = () =>
    Promise.all(['acme', 'globex'].map((tenant) => publish(`events.${tenant}.a`, { 'Event-Id': 'same' })));
  await publishBoth();
  await receiver.waitForRequests(2);
  expect(receiver.requests.map(({ headers }) => headers['webhook-id'])).toEqual(['same', 'same']);
  // When published again, they are duplicates.
  await publishBoth();
  await publish('events.acme.end');
  await receiver.waitForRequests(3);
  expect(receiver.requests.at(-1)?.headers['webhook-event']).toBe('end');
});

it('messages that no process of this installation sealed are never sent or shown, and block nothing', async () => {
  let logged = '';
  const log = pino({ level: 'warn' }, { write: (line: string) => void (logged += line) });
  const installation = await install('trust', log);
  const { id, app, receiver } = installation;
  const shown = await watch(installation);
  const sealed: { subject: string; data: Uint8Array; msgId: string }[] = [];
  const spy = connection.subscribe('trust.deliveries.*', {
    callback: (_, message) => {
      sealed.push({ subject: message.subject, data: message.data, msgId: message.headers?.get('Nats-Msg-Id') ?? '' });
    },
  });
  cleanUps.push(() => spy.drain());
  await connection.flush();
  await publish('trust.events.acme.genuine');
  await receiver.waitForRequests(1);
  await waitFor(() => sealed.length === 1, { what: 'the genuine message' });
  const [{ subject, data, msgId } = { subject: '', data: new Uint8Array(), msgId: '' }] = sealed;
  const other = await app.subscribe({ url: receiver.url, eventTypes: ['never'] });
  const text = Buffer.from(data).toString();
  const forgeries: [string, Uint8Array][] = [
    [`trust.deliveries.${id}`, Buffer.from(text.slice(44))],
    [`trust.deliveries.${id}`, Buffer.from(text.replace('genuine', 'altered'))],
    [`trust.deliveries.${other.id}`, data],
    ['trust.deliveries.nobody', Buffer.alloc(0)],
    ['trust.deliveries.nobody', Buffer.from('not json\n')],
  ];
  const jetStream = connection.jetstream();
  for (let round = 0; round < 20; round += 1) {
    for (const [forged, body] of forgeries) await jetStream.publish(forged, body);
  }
  // The genuine message again, with its own id and with others.
  expect((await jetStream.publish(subject, data, { msgID: msgId })).duplicate).toBe(true);
  await jetStream.publish(subject, data, { msgID: 'another' });
  await jetStream.publish(subject, data);
  await waitFor(() => shown().includes('genuine'), { what: 'the live log' });
  const attempt = { id, tenant: 'acme', subscriptionId: id, deliveryId: id, eventType: 'forged', status: 'SUCCESS' };
  connection.publish('trust.log.acme', JSON.stringify({ ...attempt, startedAt: new Date() }));
  await publish('trust.events.acme.last');
  await receiver.waitForRequests(2);
  await waitFor(async () => (await jsm.streams.info('trust_DELIVERIES')).state.messages === 0, {
    what: 'the forged messages to be gone',
  });
  expect(receiver.requests.map(({ headers }) => headers['webhook-event'])).toEqual(['genuine', 'last']);
  const metrics = await scrape(app);
  expect(metrics.valueOf('webhooks_nats_forged_messages_total', { kind: 'deliveries' })).toBe(100);
  expect(metrics.valueOf('webhooks_nats_forged_messages_total', { kind: 'log' })).toBe(1);
  expect(logged.match(/messages were dropped because no process of this installation sealed them/g)).toHaveLength(1);
  await waitFor(() => shown().includes('last'), { what: 'the live log' });
  expect(shown()).not.toContain('forged');
});
