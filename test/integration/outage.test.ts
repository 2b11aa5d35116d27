import { connect } from 'nats';
import pg from 'pg';
import { type Logger, pino } from 'pino';
import { describe, expect, inject, it, type TestContext } from 'vitest';
import { type App, startApp } from '../../src/app.ts';
import { readConfig } from '../../src/config/config.ts';
import { VERSION } from '../../src/lib/version.ts';
import { startEngineProcess } from '../support/engine-process.ts';
import { collect, createSocketClient } from '../support/graphql-client.ts';
import { startTestPostgres } from '../support/postgres.ts';
import { type Receiver, type Respond, startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, subscribe, type TestApp, testEnv } from '../support/test-app.ts';
import { waitFor, waitUntilReady } from '../support/wait-for.ts';

/** Seconds that a busy machine may add to a stop within 25 s. The sum is below the 30 s before a SIGKILL. */
const MACHINE_SECONDS = 3;

/** The part of the test context that stops everything at the end of a test, in reverse order. The tests are concurrent. */
type Test = Pick<TestContext, 'onTestFinished'>;

function onCleanUp<T extends { stop(): Promise<void> }>({ onTestFinished }: Test, part: T): T {
  onTestFinished(() => part.stop());
  return part;
}

async function receive({ onTestFinished }: Test, respond?: Respond): Promise<Receiver> {
  const receiver = await startReceiver(respond);
  onTestFinished(() => receiver.close());
  return receiver;
}

function recordingLog(): { log: Logger; has: (message: string) => boolean } {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
  return { log, has: (message) => lines.some((line) => line.includes(message)) };
}

/** Responses of a receiver that wait until `answer` is called. */
function holdAnswers(): { answer: () => void; respond: () => Promise<{ status: number }> } {
  let answer: () => void = () => undefined;
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  return {
    answer: () => {
      answer();
    },
    respond: async () => {
      await answered;
      return { status: 200 };
    },
  };
}

type Part = { readonly ok: boolean; readonly message?: string };

async function readinessOf({ url }: Pick<App, 'url'>): Promise<Record<'database' | 'nats' | 'start', Part>> {
  // `as`: every answer has these parts.
  return (await (await fetch(`${url}/health/ready`)).json()) as Record<'database' | 'nats' | 'start', Part>;
}

async function secondsToStop(app: TestApp): Promise<number> {
  const begun = Date.now();
  await app.stop();
  return (Date.now() - begun) / 1_000;
}

async function testSend(app: TestApp, id: string): Promise<{ id: string; status: string }> {
  const { sendTestEvent } = await app.graphql<{ sendTestEvent: { delivery: { id: string; status: string } } }>(
    'mutation ($id: ID!) { sendTestEvent(subscriptionId: $id) { ... on SendTestEventPayload { delivery { id status } } } }',
    { id },
  );
  return sendTestEvent.delivery;
}

/** Waits until the last pushed state of the server has these parts that do not work. */
function watchHealth({ onTestFinished }: Test, app: TestApp): (broken: readonly string[]) => Promise<unknown> {
  const client = createSocketClient(app.url, app.adminApiKey);
  onTestFinished(async () => client.dispose());
  type Health = { readonly parts: readonly { readonly name: string; readonly isOk: boolean }[] };
  const { data } = collect<{ serverHealth: Health }>(client, {
    query: 'subscription { serverHealth { parts { name isOk } } }',
  });
  return (broken) =>
    waitFor(
      () => {
        const parts = data.at(-1)?.serverHealth.parts.filter(({ isOk }) => !isOk);
        return parts?.map(({ name }) => name).join() === broken.join();
      },
      { what: `the pushed state without ${broken.join()}` },
    );
}

describe.concurrent('NATS', () => {
  it('an outage is logged, queries work, and deliveries are sent after it', async (test) => {
    const services = onCleanUp(test, await startTestServices());
    const { log, has } = recordingLog();
    const app = onCleanUp(test, await startTestApp(services, { log }));
    const receiver = await receive(test);
    const { id } = await app.subscribe({ url: receiver.url });
    const untilBroken = watchHealth(test, app);
    await untilBroken([]);
    await services.nats.kill9();
    await waitFor(() => has('NATS is disconnected'), { what: 'the log line' });
    await untilBroken(['nats']);
    expect((await fetch(`${app.url}/health/live`)).status).toBe(200);
    expect((await fetch(`${app.url}/health/ready`)).status).toBe(503);
    expect(await app.graphql('{ webhookSubscriptions { edges { node { id } } } }')).toEqual({
      webhookSubscriptions: { edges: [{ node: { id } }] },
    });
    expect(await testSend(app, id)).toMatchObject({ status: 'PENDING' });
    expect(receiver.requests).toEqual([]);
    await services.nats.start();
    await receiver.waitForRequests(1);
    await untilBroken([]);
    await services.publish('events.acme.a', '{}');
    await receiver.waitForRequests(2);
    // The second id is the new event's; the test event was sent once.
    expect(new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size).toBe(2);
  });

  it('after an outage, a live delivery log shows the attempts made during it, once', async (test) => {
    const services = onCleanUp(test, await startTestServices());
    const app = onCleanUp(test, await startTestApp(services));
    let answer: () => void = () => undefined;
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const receiver = await receive(test, async ({ headers }) => {
      if (headers['webhook-id'] === 'during') await answered;
      return { status: 200 };
    });
    await app.subscribe({ url: receiver.url, timeoutMs: 30_000 });
    const client = createSocketClient(app.url, app.adminApiKey);
    test.onTestFinished(async () => client.dispose());
    const seen: string[] = [];
    const log = client.iterate({ query: 'subscription { deliveryLog { delivery { event { id } } } }' });
    const watching = (async () => {
      for await (const { data } of log) seen.push(String(/"id":"(\w+)"/.exec(JSON.stringify(data))?.[1]));
    })();
    const publish = (eventId: string) => services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': eventId });
    // The server starts to watch some time after the client has subscribed. Earlier attempts are not shown.
    let early = 0;
    await waitFor(
      async () => {
        early += 1;
        await publish(`early${early}`);
        return waitFor(() => seen.includes(`early${early}`), { what: 'the attempt', timeoutMs: 2_000 });
      },
      { what: 'the server to watch' },
    );
    await publish('before');
    await waitFor(() => seen.includes('before'), { what: 'the first attempt, live' });
    await publish('during');
    await receiver.waitForRequests(early + 2);
    await services.nats.kill9();
    answer();
    await waitFor(async () => (await services.query('SELECT FROM attempts')).length === early + 2, {
      what: 'the attempt in Postgres',
    });
    await services.nats.start();
    await waitFor(() => seen.includes('during'), { what: 'the attempt nobody announced' });
    await publish('after');
    await waitFor(() => seen.includes('after'), { what: 'the attempt after it' });
    expect(seen.filter((eventId) => !eventId.startsWith('early'))).toEqual(['before', 'during', 'after']);
    await client.dispose();
    await watching.catch(() => undefined);
  });

  it('each stream has one consumer; a deleted one is created again, and nothing is lost or sent twice', async (test) => {
    const services = onCleanUp(test, await startTestServices());
    const app = onCleanUp(test, await startTestApp(services));
    const receiver = await receive(test);
    for (let index = 0; index < 20; index += 1) await app.subscribe({ url: receiver.url });
    await services.publish('events.acme.a', '{}');
    await receiver.waitForRequests(20);
    const connection = await connect({ servers: services.nats.url });
    test.onTestFinished(() => connection.close());
    const jsm = await connection.jetstreamManager();
    const consumers = { EVENTS: 'dispatcher', DELIVERIES: 'sender' };
    for (const [stream, consumer] of Object.entries(consumers)) {
      const found = await jsm.consumers.list(stream).next();
      expect(found.map(({ name }) => name)).toEqual([consumer]);
      await jsm.consumers.delete(stream, consumer);
    }
    await services.publish('events.acme.a', '{}');
    // The next check is half a minute after the last one.
    await receiver.waitForRequests(40);
    await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'every message to be acked' });
    expect(receiver.requests).toHaveLength(40);
  });

  it('may start later than the program', async (test) => {
    const services = onCleanUp(test, await startTestServices());
    await services.nats.kill9();
    const { log, has } = recordingLog();
    const app = onCleanUp(test, await startApp(readConfig(testEnv(services)), { log, report: () => undefined }));
    await waitFor(() => has('NATS is unavailable'), { what: 'the log line' });
    expect((await fetch(`${app.url}/health/ready`)).status).toBe(503);
    await services.nats.start();
    await app.ready;
    await waitUntilReady(app);
  });

  it('is not necessary for a process with only the role api: it is ready, and its events are delivered later', async (test) => {
    const services = onCleanUp(test, await startTestServices());
    await services.nats.kill9();
    const app = onCleanUp(test, await startTestApp(services, { env: { ROLES: 'api' } }));
    const readiness = await waitUntilReady(app);
    expect(await readiness.json()).toEqual({
      version: VERSION,
      database: { ok: true },
      nats: { ok: false, message: expect.stringContaining('NATS cannot be used: ') as string, needed: false },
      start: { ok: true },
    });
    const receiver = await receive(test);
    await app.subscribe({ url: receiver.url });
    await app.graphql(
      `mutation { publishEvent(input: { tenant: "acme", type: "order.paid", data: 1, id: "meanwhile" }) {
        ... on PublishEventPayload { event { id } } ... on Error { message } } }`,
    );
    // The sender waits for NATS.
    const sender = onCleanUp(
      test,
      await startApp(readConfig(testEnv(services, { ROLES: 'sender' })), {
        log: pino({ level: 'silent' }),
        report: () => undefined,
      }),
    );
    await waitFor(async () => (await readinessOf(sender)).start.message === 'still starting: waiting for NATS', {
      what: 'the sender to wait for NATS alone',
    });
    await services.nats.start();
    await sender.ready;
    const [request] = await receiver.waitForRequests(1);
    expect(request?.headers['webhook-id']).toBe('meanwhile');
    await waitUntilReady(app);
  });

  it('while it is paused, the program stops within 25 s, and nothing is sent twice', async (test) => {
    const services = onCleanUp(test, await startTestServices());
    const app = onCleanUp(test, await startTestApp(services));
    const { answer, respond } = holdAnswers();
    const receiver = await receive(test, respond);
    await app.subscribe({ url: receiver.url });
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'unacked' });
    await receiver.waitForRequests(1);
    await services.nats.pause();
    test.onTestFinished(() => services.nats.resume());
    answer();
    expect(await secondsToStop(app)).toBeLessThan(25 + MACHINE_SECONDS);
    const successes = `SELECT FROM deliveries WHERE status = 'SUCCESS'`;
    expect(await services.query(successes)).toHaveLength(1);
    await services.nats.resume();
    onCleanUp(test, await startTestApp(services));
    await services.shortenAckWait('DELIVERIES', 'sender');
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'afterwards' });
    await waitFor(async () => (await services.query(successes)).length === 2, { what: 'both successes' });
    await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'every message to be acked' });
    expect(receiver.requests).toHaveLength(2);
  });
});

describe.concurrent('Postgres', () => {
  it('an outage is logged, queries report it, and all work resumes automatically', async (test) => {
    const postgres = onCleanUp(test, await startTestPostgres(inject('postgresCluster')));
    const services = onCleanUp(test, await startTestServices());
    const { log, has } = recordingLog();
    const app = onCleanUp(test, await startTestApp({ databaseUrl: postgres.url, nats: services.nats }, { log }));
    let answer: () => void = () => undefined;
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const receiver = await receive(test, async (_, index) => {
      if (index === 0) await answered;
      return { status: 200 };
    });
    const { id } = await app.subscribe({ url: receiver.url });
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'in-flight' });
    await receiver.waitForRequests(1);
    const untilBroken = watchHealth(test, app);
    await untilBroken([]);
    await postgres.kill9();
    // The attempt in flight ends and an event arrives while Postgres is unavailable.
    answer();
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'meanwhile' });
    await waitFor(() => has('results not written') && has('dispatch failed'), {
      what: 'log lines',
    });
    await expect(app.graphql('{ webhookSubscriptions { edges { node { id } } } }')).rejects.toThrow(
      'SERVICE_UNAVAILABLE',
    );
    await untilBroken(['database']);
    expect((await fetch(`${app.url}/health/live`)).status).toBe(200);
    await postgres.start();
    await untilBroken([]);
    await receiver.waitForRequests(2);
    const log2 = await waitFor(
      async () => {
        const { deliveries } = await app.graphql<{ deliveries: { edges: { node: { status: string } }[] } }>(
          'query ($id: ID!) { deliveries(filter: { subscriptionIds: [$id] }) { edges { node { status attemptCount event { id } } } } }',
          { id },
        );
        return deliveries.edges.every(({ node }) => node.status === 'SUCCESS') && deliveries.edges;
      },
      { what: 'both successes' },
    );
    expect(log2).toMatchObject([
      { node: { attemptCount: 1, event: { id: 'meanwhile' } } },
      { node: { attemptCount: 1, event: { id: 'in-flight' } } },
    ]);
    expect(receiver.requests).toHaveLength(2);
  });

  it('a kill during a transaction neither ends the program nor loses the event', async (test) => {
    const postgres = onCleanUp(test, await startTestPostgres(inject('postgresCluster')));
    const services = onCleanUp(test, await startTestServices());
    const app = onCleanUp(test, await startTestApp({ databaseUrl: postgres.url, nats: services.nats }));
    const receiver = await receive(test);
    await app.subscribe({ url: receiver.url });
    const [blocker, observer] = [new pg.Client(postgres.url), new pg.Client(postgres.url)];
    for (const client of [blocker, observer]) {
      client.on('error', () => undefined);
      await client.connect();
    }
    await blocker.query('BEGIN; LOCK TABLE deliveries IN SHARE MODE');
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'held' });
    await waitFor(
      async () =>
        (
          await observer.query(
            `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%known.version%'`,
          )
        ).rowCount === 1,
      { what: 'the statement to wait' },
    );
    await postgres.kill9();
    await postgres.start();
    const [request] = await receiver.waitForRequests(1);
    expect(request?.headers['webhook-id']).toBe('held');
  });

  it('while it is paused, the program stops within 25 s, and its open deliveries are requeued', async (test) => {
    const postgres = onCleanUp(test, await startTestPostgres(inject('postgresCluster')));
    const services = onCleanUp(test, await startTestServices());
    const app = onCleanUp(test, await startTestApp({ databaseUrl: postgres.url, nats: services.nats }));
    const { answer, respond } = holdAnswers();
    const receiver = await receive(test, respond);
    await app.subscribe({ url: receiver.url });
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'unrecorded' });
    await receiver.waitForRequests(1);
    await postgres.pause();
    test.onTestFinished(() => postgres.resume());
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'undispatched' });
    answer();
    expect(await secondsToStop(app)).toBeLessThan(25 + MACHINE_SECONDS);
    await postgres.resume();
    onCleanUp(test, await startTestApp({ databaseUrl: postgres.url, nats: services.nats }));
    await waitFor(async () => (await postgres.query(`SELECT FROM deliveries WHERE status = 'SUCCESS'`)).length === 2, {
      what: 'both successes',
    });
    // Much earlier than the redelivery by JetStream.
    await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'every message to be acked' });
  });

  it('may start later than the program', async (test) => {
    const postgres = onCleanUp(test, await startTestPostgres(inject('postgresCluster')));
    await postgres.kill9();
    const services = onCleanUp(test, await startTestServices());
    const { log, has } = recordingLog();
    const env = testEnv({ databaseUrl: postgres.url, nats: services.nats });
    const app = onCleanUp(test, await startApp(readConfig(env), { log, report: () => undefined }));
    await waitFor(() => has('Postgres is not available yet'), { what: 'the log line' });
    expect((await fetch(`${app.url}/health/live`)).status).toBe(200);
    await postgres.start();
    await app.ready;
    await waitUntilReady(app);
  });
});

describe.concurrent('an endpoint that hangs', () => {
  it('is aborted within 25 s of a SIGTERM, which does not count as an attempt, and is sent again', async (test) => {
    const services = onCleanUp(test, await startTestServices());
    const start = async () => {
      const engine = await startEngineProcess(services);
      test.onTestFinished(() => engine.kill9());
      return engine;
    };
    const engine = await start();
    const receiver = await receive(test, (_, index) => (index === 0 ? 'hang' : { status: 200 }));
    // Longer than the program waits during a stop.
    await subscribe(engine.graphql, { url: receiver.url, timeoutMs: 30_000 });
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'given-up' });
    await receiver.waitForRequests(1);
    const begun = Date.now();
    expect(await engine.terminate()).toBe(0);
    expect(Date.now() - begun).toBeLessThan((25 + MACHINE_SECONDS) * 1_000);
    expect(await services.query('SELECT FROM attempts')).toEqual([]);
    expect(await services.query('SELECT status, attempt_count FROM deliveries')).toEqual([
      { status: 'PENDING', attempt_count: 0 },
    ]);
    await start();
    // Much earlier than the redelivery by JetStream.
    await receiver.waitForRequests(2);
    await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'the message to be acked' });
    const sent = receiver.requests.map(({ headers }) => [headers['webhook-id'], headers['webhook-attempt']]);
    expect(sent).toEqual([
      ['given-up', '1'],
      ['given-up', '1'],
    ]);
    expect(await services.query('SELECT number, status FROM attempts')).toEqual([{ number: 1, status: 'SUCCESS' }]);
  });
});
