import { pino } from 'pino';
import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { insertSubscriptions, subjectsOf } from '../../bench/many-subscriptions.ts';
import { SchemaThread } from '../../src/events/catalogue/schema-thread.ts';
import { createPublishEvents, type EventToPublish } from '../../src/events/publish.ts';
import { createDatabase } from '../../src/postgres/client.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { startNatsParts } from '../support/nats-parts.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { SECRETS_KEY, startTestApp } from '../support/test-app.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

/** Starts publishing with Postgres. Calls in one turn of the event loop are one batch. */
async function startPublishing(
  { nats, databaseUrl }: TestStack,
  { url = databaseUrl, natsUrl = nats.url } = {},
): Promise<(event: EventToPublish) => Promise<string>> {
  const log = pino({ level: 'silent' });
  const database = createDatabase({ url, onError: () => undefined });
  cleanUps.push(() => database.close());
  const { natsClient, deliveries } = startNatsParts({ servers: [natsUrl], log });
  cleanUps.push(() => natsClient.stop());
  await waitFor(() => natsClient.connected, { what: 'NATS' });
  const metrics = new Registry();
  const schemaThread = new SchemaThread({ log, metrics });
  cleanUps.push(() => schemaThread.stop());
  const publishEvents = createPublishEvents({ database, deliveries, schemaThread, log, metrics });
  return async (event) => {
    const [outcome] = await publishEvents([event]);
    if (outcome === undefined || 'error' in outcome) throw outcome?.error;
    return outcome.event.rowId;
  };
}

const eventOf = (eventId: string, { type = 'a', data = Buffer.from('{}') } = {}) => ({
  tenant: 'acme',
  type,
  data,
  eventId,
  occurredAt: undefined,
});

/** Returns a URL of Postgres where the answer to the first committed insert of events is lost. */
async function losingCommit({
  databaseUrl,
}: TestStack): Promise<{ readonly url: string; readonly lost: () => number }> {
  const url = new URL(databaseUrl);
  let isWritten = false;
  let lost = 0;
  const proxy = await startTcpProxy({
    port: Number(url.port),
    toServer: (text) => {
      isWritten ||= text.includes('INSERT INTO events');
      return text;
    },
    toClient: (text) => {
      if (lost > 0 || !isWritten || !text.includes('SELECT 1\0')) return text;
      lost += 1;
      return undefined;
    },
  });
  cleanUps.push(() => proxy.stop());
  url.port = String(proxy.port);
  return { url: url.href, lost: () => lost };
}

it.each([1, 5])('a connection that breaks during a commit delays no delivery (events: %i)', async (count) => {
  const stack = await startTestStack(cleanUps);
  const receiver = await stack.receive();
  await stack.app.subscribe({ url: receiver.url });
  await stack.app.subscribe({ url: receiver.url });
  const { url, lost } = await losingCommit(stack);
  const publish = await startPublishing(stack, { url });
  const ids = Array.from({ length: count }, (_, index) => `e${index}`);
  const rowIds = await Promise.all(ids.map((id) => publish(eventOf(id))));
  expect(lost()).toBe(1);
  expect(new Set(rowIds).size).toBe(count);
  await stack.waitForDeliveries(2 * count, `status = 'SUCCESS' AND enqueue_count = 1`);
  expect(receiver.requests.map(({ headers }) => headers['webhook-id']).sort()).toEqual([...ids, ...ids].sort());
  expect(await stack.query('SELECT FROM events')).toHaveLength(count);
});

it('events are temporarily rejected beyond 56 MiB of waiting events of a tenant, or 64 MiB of all', async () => {
  const stack = await startTestStack(cleanUps, { env: { ROLES: 'api' } });
  const publish = await startPublishing(stack);
  const data = Buffer.from(JSON.stringify('x'.repeat(1_048_574)));
  const publishAll = (count: number, tenant: string) =>
    Array.from({ length: count }, (_, n) => publish({ ...eventOf(`e${n}`, { data }), tenant }));
  const results = await Promise.allSettled([...publishAll(70, 'loud'), ...publishAll(2, 'quiet')]);
  const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
  expect(refused).toHaveLength(15);
  for (const error of refused) expect(error).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
  expect(await stack.query('SELECT tenant, count(*)::integer FROM events GROUP BY 1 ORDER BY 1')).toEqual([
    { tenant: 'loud', count: 55 },
    { tenant: 'quiet', count: 2 },
  ]);
  await publish(eventOf('afterwards', { data }));
});

it('an event of another tenant is written before the rest of many that one tenant publishes', async () => {
  const stack = await startTestStack(cleanUps, { env: { ROLES: 'api' } });
  const options = { types: 1, fanOut: 400 };
  await insertSubscriptions({ ...stack, secretsKey: SECRETS_KEY }, { ...options, urls: ['http://127.0.0.1:1'] });
  const [subject = ''] = subjectsOf(options);
  const [, tenant = '', ...type] = subject.split('.');
  const publish = await startPublishing(stack);
  let written = 0;
  const publishLoud = async (n: number) => {
    await publish({ ...eventOf(`e${n}`, { type: type.join('.') }), tenant });
    written += 1;
  };
  const loud = Promise.all(Array.from({ length: 30 }, (_, n) => publishLoud(n)));
  await waitFor(() => written > 0, { what: 'the first event to be written' });
  await publish({ ...eventOf('quiet'), tenant: 'quiet' });
  // The current batch and the next, of two events each, and events whose messages are being published.
  expect(written).toBeLessThanOrEqual(12);
  await loud;
  expect(await stack.countDeliveries('true')).toBe(12_000);
});

it('the rest of a failed batch is written on one connection', async () => {
  const stack = await startTestStack(cleanUps, { env: { ROLES: 'api' } });
  await stack.query(`CREATE FUNCTION stay_alone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.type = 'poison' OR NOT pg_try_advisory_xact_lock(1) THEN RAISE 'refused'; END IF;
    RETURN NEW;
  END $$`);
  await stack.query('CREATE TRIGGER stay_alone BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION stay_alone()');
  const publish = await startPublishing(stack);
  const results = await Promise.allSettled(
    Array.from({ length: 30 }, (_, n) => publish(eventOf(`e${n}`, { type: n === 7 ? 'poison' : 'fine' }))),
  );
  expect(results.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual([7]);
  expect(await stack.query('SELECT FROM events')).toHaveLength(29);
});

it('a delivery whose publisher gets no answer from JetStream is sent once, by any process', async () => {
  const stack = await startTestStack(cleanUps);
  let answer: () => void = () => undefined;
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const receiver = await stack.receive(async () => {
    await answered;
    return { status: 200 };
  });
  const count = 10;
  for (let index = 0; index < count; index += 1) {
    await stack.app.subscribe({ url: receiver.url, timeoutMs: 30_000 });
  }
  const proxy = await startTcpProxy({
    port: Number(new URL(stack.nats.url).port),
    // Changes the reply subject to an unused one of the same length.
    toClient: (text) =>
      text.replace(/^(MSG \S+\.)(\S+)(?= \d+ +\d+\r\n\{"stream":"DELIVERIES")/gm, (_, start: string, token: string) =>
        start.concat('X'.repeat(token.length)),
      ),
  });
  cleanUps.push(() => proxy.stop());
  const natsUrl = new URL(stack.nats.url);
  natsUrl.port = String(proxy.port);
  const publish = await startPublishing(stack, { natsUrl: natsUrl.href });
  const publishing = publish(eventOf('e'));
  await receiver.waitForRequests(count);
  // The process that makes the attempt consumes no second message; another process does.
  const stopping = stack.app.stop();
  const other = await startTestApp(stack);
  cleanUps.push(() => other.stop());
  await publishing;
  // The deliveries are published again during their attempts.
  await waitFor(async () => (await stack.deliveredBy('DELIVERIES', 'sender')) >= 2 * count, {
    what: 'the second messages to be taken',
  });
  answer();
  await stopping;
  await stack.waitForDeliveries(count, `status = 'SUCCESS' AND attempt_count = 1`);
  expect(receiver.requests).toHaveLength(count);
});
