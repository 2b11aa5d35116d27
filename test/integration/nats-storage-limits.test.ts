import { connect, DiscardPolicy, headers, type JetStreamManager, type NatsConnection, NatsError } from 'nats';
import { pino } from 'pino';
import { beforeEach, describe, expect, it } from 'vitest';
import { natsNames } from '../../src/nats/names.ts';
import { StreamReconciler } from '../../src/nats/reconcile.ts';
import { requiredSetup } from '../../src/nats/streams.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { startTestNats, type TestNatsOptions } from '../support/nats.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor, waitUntilReady } from '../support/wait-for.ts';

const MEBIBYTE = 1024 * 1024;
const cleanUps = createCleanUps();
let logged = '';
const log = pino({ level: 'info' }, { write: (line: string) => void (logged += line) });

beforeEach(() => {
  logged = '';
});

async function connectTo(url: string): Promise<NatsConnection> {
  const connection = await connect({ servers: url });
  cleanUps.push(() => connection.close());
  return connection;
}

async function manage(url: string): Promise<JetStreamManager> {
  return (await connectTo(url)).jetstreamManager();
}

async function startServices(options: TestNatsOptions = { maxStoreBytes: 64 * MEBIBYTE }): Promise<TestServices> {
  const services = await startTestServices(options);
  cleanUps.push(() => services.stop());
  return services;
}

async function startApp(services: TestServices, env: Record<string, string> = {}): Promise<TestApp> {
  const app = await startTestApp(services, { env, log });
  cleanUps.push(() => app.stop());
  return app;
}

async function receive(): Promise<Receiver> {
  const receiver = await startReceiver();
  cleanUps.push(() => receiver.close());
  return receiver;
}

/** Publishes like a correct service: a message rejected because the stream is full is published again. */
async function startPublisher(url: string) {
  const jetStream = (await connectTo(url)).jetstream();
  const publishOnce = async (id: string, bytes: number) => {
    const eventHeaders = headers();
    eventHeaders.set('Event-Id', id);
    await jetStream.publish('events.acme.a', JSON.stringify('x'.repeat(bytes - 2)), { headers: eventHeaders });
  };
  let refusals = 0;
  const publish = (id: string, bytes: number) =>
    waitFor(
      () =>
        publishOnce(id, bytes).then(
          () => true,
          (error: unknown) => {
            refusals += 1;
            throw error;
          },
        ),
      { what: `the event ${id} to be taken` },
    );
  return { publishOnce, publish, refusals: () => refusals };
}

async function warningsOf({ url }: TestApp): Promise<string> {
  const { nats } = (await (await fetch(`${url}/health/ready`)).json()) as { nats: { warnings?: string[] } };
  return (nats.warnings ?? []).join();
}

async function waitReasonsOf(app: TestApp): Promise<(string | null)[]> {
  const { deliveries } = await app.graphql<{ deliveries: { nodes: { waitingFor: string | null }[] } }>(
    '{ deliveries(first: 100) { nodes { waitingFor } } }',
  );
  return [...new Set(deliveries.nodes.map(({ waitingFor }) => waitingFor))];
}

/** The sweeper repeats the publication: until NATS has refused it again, a delivery waits for nothing. */
async function waitForRefusal(app: TestApp): Promise<void> {
  const isRefused = async () => (await waitReasonsOf(app)).filter((reason) => reason !== null).join() === REFUSED;
  await waitFor(isRefused, { what: `the wait reason ${REFUSED}` });
}

const REFUSED = 'BROKER_UNAVAILABLE';

const idsAt = ({ requests }: Receiver) => requests.map(({ headers: received }) => received['webhook-id']);

describe('a nats-server with little storage', () => {
  it.each([
    [64, 'maxStoreBytes'],
    [70, 'maxStoreBytes'],
    [100, 'maxStoreBytes'],
    [12, 'maxStoreBytes'],
    [64, 'maxAccountBytes'],
  ])('of %d MiB (%s) gets both streams, and neither uses all the storage', async (mebibytes, limit) => {
    const nats = await startTestNats({ [limit]: mebibytes * MEBIBYTE });
    cleanUps.push(() => nats.stop());
    const jsm = await manage(nats.url);
    await new StreamReconciler({ log, now: Date.now }).check(jsm);
    const [events = 0, deliveries = 0] = await Promise.all(
      ['EVENTS', 'DELIVERIES'].map(async (name) => (await jsm.streams.info(name)).config.max_bytes / MEBIBYTE),
    );
    expect(events + deliveries).toBeLessThanOrEqual(mebibytes);
    expect(events).toBeGreaterThanOrEqual(mebibytes * 0.4);
    expect(deliveries).toBeGreaterThanOrEqual(Math.max(4, events / 8));
    expect(logged).toContain('no room for a larger one');
  });

  it('delivers a burst that is larger than its storage, each event once', async () => {
    const services = await startServices({ maxStoreBytes: 16 * MEBIBYTE });
    const receiver = await receive();
    const app = await startApp(services);
    await app.subscribe({ url: receiver.url, maxInFlight: 20 });
    const { publish } = await startPublisher(services.nats.url);
    const ids = Array.from({ length: 40 }, (_, index) => `event-${index}`);
    for (let start = 0; start < ids.length; start += 8) {
      await Promise.all(ids.slice(start, start + 8).map((id) => publish(id, MEBIBYTE / 2)));
    }
    await receiver.waitForRequests(ids.length);
    expect(idsAt(receiver).toSorted()).toEqual(ids.toSorted());
  });
});

describe('space in EVENTS', () => {
  it.each([[true], [false]])(
    'is freed by deleting dispatched events only, oldest first (by a purge: %j)',
    async (canPurge) => {
      const nats = await startTestNats();
      cleanUps.push(() => nats.stop());
      const jsm = await manage(nats.url);
      const settings = { eventsMaxBytes: 4 * MEBIBYTE };
      const reconciler = new StreamReconciler({ log, settings, deletesDispatchedEvents: true, now: Date.now });
      await reconciler.check(jsm, { canPurge });
      const { publishOnce } = await startPublisher(nats.url);
      for (let index = 0; index < 15; index += 1) await publishOnce(`event-${index}`, MEBIBYTE / 4);
      const consumer = await (await connectTo(nats.url)).jetstream().consumers.get('EVENTS', 'dispatcher');
      const state = async () => (await jsm.streams.info('EVENTS')).state;

      const check = await reconciler.check(jsm, { canPurge });
      expect((await state()).messages).toBe(15);
      expect(check.warnings).toEqual([
        expect.stringMatching(/^the stream EVENTS is 94 % full \(4 of 4 MiB, 15 messages\)/),
      ]);

      for (let index = 0; index < 2; index += 1) await (await consumer.next())?.ackAck();
      await reconciler.check(jsm, { canPurge });
      expect(await state()).toMatchObject({ first_seq: 3, messages: 13 });

      for (let index = 0; index < 13; index += 1) await (await consumer.next())?.ackAck();
      expect((await reconciler.check(jsm, { canPurge })).warnings).toEqual([]);
      // Nothing more than necessary was deleted.
      expect((await state()).messages).toBe(11);
    },
  );

  it('is not freed if an operator has configured the stream to drop its oldest messages', async () => {
    const nats = await startTestNats();
    cleanUps.push(() => nats.stop());
    const jsm = await manage(nats.url);
    const reconciler = new StreamReconciler({
      log,
      settings: { eventsMaxBytes: 4 * MEBIBYTE },
      deletesDispatchedEvents: true,
      now: Date.now,
    });
    await reconciler.check(jsm);
    await jsm.streams.update('EVENTS', { discard: DiscardPolicy.Old });
    const { publishOnce } = await startPublisher(nats.url);
    for (let index = 0; index < 20; index += 1) await publishOnce(`event-${index}`, MEBIBYTE / 4);
    expect((await reconciler.check(jsm)).warnings).toHaveLength(1);
  });
});

it('a full EVENTS rejects publishers, is reported, does not stop deliveries, and accepts events again later', async () => {
  const services = await startServices();
  const receiver = await receive();
  const env = { NATS_EVENTS_MAX_BYTES: '4MiB' };
  const idle = await startApp(services, { ...env, ROLES: 'api,sender' });
  await idle.subscribe({ url: receiver.url, maxInFlight: 100 });
  const { publishOnce, publish } = await startPublisher(services.nats.url);
  let stored = 0;
  const refused = await waitFor(
    () =>
      publishOnce(`event-${stored}`, MEBIBYTE / 4).then(
        () => {
          stored += 1;
          return undefined;
        },
        (error: unknown) => error,
      ),
    { what: 'EVENTS to be full' },
  );
  expect(refused).toBeInstanceOf(NatsError);
  expect(refused).toMatchObject({ api_error: { err_code: 10077 } });

  const fullApp = await startApp(services, { ...env, ROLES: 'api,sender' });
  await waitFor(async () => (await warningsOf(fullApp)).includes('the stream EVENTS is '), { what: 'the warning' });
  expect(logged).toMatch(/the stream EVENTS is 9\d % full/);
  await waitUntilReady(fullApp);
  await idle.graphql(
    `mutation { publishEvent(input: { tenant: "acme", type: "b", id: "past-nats", data: 1 }) { __typename } }`,
  );
  await receiver.waitForRequests(1);
  expect(idsAt(receiver)).toEqual(['past-nats']);

  const app = await startApp(services, { ...env, ROLES: 'api,dispatcher' });
  await publish('late', MEBIBYTE / 4);
  await receiver.waitForRequests(stored + 2);
  await waitFor(async () => (await warningsOf(app)) === '', { what: 'the warning to go' });
  const ids = ['past-nats', 'late', ...Array.from({ length: stored }, (_, index) => `event-${index}`)];
  expect(idsAt(receiver).toSorted()).toEqual(ids.toSorted());
});

describe('DELIVERIES', () => {
  it('that is full is reported, also as a wait reason, in every process; all deliveries are sent when it has space', async () => {
    const services = await startServices();
    const receiver = await receive();
    const env = { NATS_DELIVERIES_MAX_BYTES: '4MiB' };
    const app = await startApp(services, { ...env, ROLES: 'api,dispatcher' });
    const other = await startApp(services, { ...env, ROLES: 'api' });
    await app.subscribe({ url: receiver.url, maxInFlight: 100 });
    const { publish, refusals } = await startPublisher(services.nats.url);
    const ids = Array.from({ length: 300 }, (_, index) => `event-${index}`);
    for (const id of ids) await publish(id, 16 * 1024);
    const count = async () =>
      (
        await services.query<{ n: number }>('SELECT count(*)::integer AS n FROM deliveries WHERE enqueued_at IS NULL')
      )[0]?.n;
    await waitFor(async () => ((await count()) ?? 0) >= 30, { what: 'refused deliveries' });
    expect(refusals()).toBe(0);
    const warning =
      'JetStream refuses deliveries for the stream DELIVERIES: the stream is full (max_bytes or max_msgs); they wait in Postgres';
    expect(await warningsOf(app)).toContain(warning);
    expect(logged).toContain(warning);
    await waitUntilReady(app);
    for (const one of [app, other]) {
      await waitForRefusal(one);
    }

    await startApp(services, { ...env, ROLES: 'sender' });
    await receiver.waitForRequests(ids.length);
    await waitFor(async () => (await services.query(`SELECT FROM deliveries WHERE status = 'PENDING'`)).length === 0, {
      what: 'the deliveries to end',
    });
    expect(idsAt(receiver).toSorted()).toEqual(ids.toSorted());
  });

  it('that exceeds the limit of its account is reported with the account; deliveries are sent when the account has space', async () => {
    const services = await startServices({ maxAccountBytes: 16 * MEBIBYTE });
    const receiver = await receive();
    const jsm = await manage(services.nats.url);
    // Streams of an operator, without limits.
    const { streams } = requiredSetup(natsNames());
    for (const stream of streams) await jsm.streams.add({ ...stream, max_bytes: -1 });
    await jsm.streams.add({ name: 'OTHER', subjects: ['other'] });
    const app = await startApp(services);
    await app.subscribe({ url: receiver.url });
    const jetStream = (await connectTo(services.nats.url)).jetstream();
    const fill = (bytes: number) =>
      jetStream.publish('other', Buffer.alloc(bytes)).then(
        () => false,
        (error: unknown) => error,
      );
    for (const bytes of [MEBIBYTE, 32 * 1024, 1024, 1]) {
      const refused = await waitFor(() => fill(bytes), { what: 'the account to be full' });
      expect(refused).toMatchObject({ api_error: { err_code: 10002 } });
    }
    const publishEvent = `mutation { publishEvent(input: { tenant: "acme", type: "b", id: "one", data: 1 }) { __typename } }`;
    await app.graphql(publishEvent);
    await waitForRefusal(app);
    const warning = 'JetStream refuses deliveries for the stream DELIVERIES: the account has reached its storage limit';
    expect(await warningsOf(app)).toContain(warning);
    expect(logged).toContain(warning);
    await jsm.streams.purge('OTHER');
    await receiver.waitForRequests(1);
    await waitFor(async () => (await waitReasonsOf(app))[0] === null, { what: 'the delivery to end' });
    expect(await warningsOf(app)).toBe('');
    expect(idsAt(receiver)).toEqual(['one']);
  });

  it('contains the data of an event for many subscriptions only if its total size is small', async () => {
    const services = await startServices({ maxStoreBytes: 1024 * MEBIBYTE });
    const app = await startApp(services, { ROLES: 'api,dispatcher' });
    const jsm = await manage(services.nats.url);
    const bytesAfter = async (id: string, messages: number) => {
      await publishOnce(id, 200 * 1024);
      return waitFor(
        async () => {
          const { state } = await jsm.streams.info('DELIVERIES');
          if (state.last_seq !== messages) throw new Error(JSON.stringify(state));
          return state.bytes;
        },
        { what: `the messages of ${id}` },
      );
    };
    const { publishOnce } = await startPublisher(services.nats.url);
    await app.subscribe({ url: 'http://127.0.0.1:8999', eventTypes: ['a'] });
    const alone = await bytesAfter('alone', 1);
    expect(alone).toBeGreaterThan(200 * 1024);
    for (let index = 1; index < 30; index += 1)
      await app.subscribe({ url: 'http://127.0.0.1:8999', eventTypes: ['a'] });
    expect((await bytesAfter('for-30', 31)) - alone).toBeLessThan(30 * 1024);
  });
});
