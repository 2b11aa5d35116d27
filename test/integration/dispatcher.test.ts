import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterEach, expect, it, vi } from 'vitest';
import { SchemaThread } from '../../src/events/catalogue/schema-thread.ts';
import { Dispatcher } from '../../src/events/dispatcher.ts';
import { createDatabase } from '../../src/postgres/client.ts';
import { Clock } from '../../src/postgres/clock.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { startNatsParts } from '../support/nats-parts.ts';
import { lockTable } from '../support/table-lock.ts';
import { startTestServices } from '../support/test-app.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

afterEach(() => void vi.restoreAllMocks());

/** Makes every insert of an event of this type fail with a transient error. */
async function failAlways({ query }: TestStack, type: string): Promise<void> {
  await query(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END $$`);
  await query(
    `CREATE TRIGGER fail BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.type = '${type}') EXECUTE FUNCTION fail()`,
  );
}

it('an event whose transaction fails repeatedly does not delay others', async () => {
  const stack = await startTestStack(cleanUps);
  await failAlways(stack, 'cursed');
  const isWritten = async (type: string, count: number) =>
    (await stack.query('SELECT FROM events WHERE type = $1', [type])).length === count;
  await Promise.all([
    stack.publishMany('before', 20),
    stack.publish('events.acme.cursed', '{}'),
    stack.publishMany('beside', 20),
  ]);
  await stack.publishMany('after', 20);
  for (const type of ['before', 'beside', 'after']) {
    await waitFor(() => isWritten(type, 20), { what: `those ${type}` });
  }
  await waitFor(() => stack.logLines.some((line) => line.includes('event refused')), { what: 'the log line' });
  // The event is still in EVENTS.
  expect(await stack.waitingIn('EVENTS')).toBeGreaterThan(0);
  await waitFor(async () => (await stack.unackedBy('EVENTS', 'dispatcher')) === 1, { what: 'all others to be acked' });
});

/** A dispatcher whose statements have a limit of 300 ms. */
async function startDispatcher() {
  const services = await startTestServices();
  cleanUps.push(() => services.stop());
  const logLines: string[] = [];
  const log = pino({ level: 'error' }, { write: (line: string) => void logLines.push(line) });
  const database = createDatabase({ url: services.databaseUrl, onError: () => undefined, statementMs: 300 });
  cleanUps.push(() => database.close());
  const { natsClient, deliveries } = startNatsParts({ servers: [services.nats.url], log });
  cleanUps.push(() => natsClient.stop());
  const metrics = new Registry();
  const schemaThread = new SchemaThread({ log, metrics });
  cleanUps.push(() => schemaThread.stop());
  const dispatcher = new Dispatcher({ database, nats: natsClient, deliveries, schemaThread, log, metrics });
  dispatcher.start();
  cleanUps.push(() => dispatcher.stop());
  await waitFor(async () => (await services.storedIn('EVENTS')) === 0, { what: 'the stream' });
  return { services, dispatcher, logLines };
}

it('a dispatcher whose queue is full can stop, and loses nothing', async () => {
  const { services, dispatcher, logLines } = await startDispatcher();
  const unlock = await lockTable(services.databaseUrl, { table: 'events', mode: 'SHARE' });
  cleanUps.push(unlock);
  // 40 MB of events; the queue holds 32 MiB.
  const data = JSON.stringify('x'.repeat(1_000_000));
  for (let count = 0; count < 40; count += 1) await services.publish('events.acme.order.paid', data);
  await waitFor(() => logLines.length > 0, { what: 'a failed dispatch' });
  await dispatcher.stop();
  expect(await services.storedIn('EVENTS')).toBe(40);
});

it('events that waited for a locked table are written within seconds after the lock is released', async () => {
  const { services, logLines } = await startDispatcher();
  const unlock = await lockTable(services.databaseUrl, { table: 'events', mode: 'SHARE' });
  const types = ['a', 'b', 'c'];
  for (const type of types) await services.publish(`events.acme.${type}`, '{}');
  const wasRefused = (type: string) =>
    logLines.some((line) => line.includes('event refused') && line.includes(`events.acme.${type}"`));
  await waitFor(() => types.every(wasRefused), { what: 'all of them to be refused' });
  await unlock();
  await waitFor(async () => (await services.query('SELECT FROM events')).length === types.length, {
    what: 'the events to be written',
  });
});

it('an event does not wait while a large batch of another tenant is being written', async () => {
  const stack = await startTestStack(cleanUps);
  const receiver = await stack.receive();
  await Promise.all(
    Array.from({ length: 100 }, () => stack.app.subscribe({ url: receiver.url, eventTypes: ['many'] })),
  );
  const isWritten = async (type: string, count: number) =>
    (await stack.query('SELECT FROM events WHERE type = $1', [type])).length === count;
  // After the first event, the dispatcher knows the number of deliveries for each event of this tenant.
  await stack.publish('events.acme.many', '{}');
  await receiver.waitForRequests(100);
  await stack.query('CREATE TABLE gate ()');
  await stack.query(`CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM FROM gate; RETURN NEW; END $$`);
  await stack.query(
    `CREATE TRIGGER pass BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.type = 'many') EXECUTE FUNCTION pass()`,
  );
  const open = await lockTable(stack.databaseUrl, { table: 'gate' });
  await stack.publish('events.acme.many', '{}');
  const waiting = `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`;
  await waitFor(async () => (await stack.query(waiting)).length > 0, { what: 'the batch to be blocked' });
  await stack.publish('events.other.few', '{}');
  await waitFor(() => isWritten('few', 1), { what: 'the event of the other tenant' });
  // The statement did not time out meanwhile.
  expect(stack.logLines.filter((line) => line.includes('event refused'))).toEqual([]);
  expect(await isWritten('many', 1)).toBe(true);
  await open();
  await waitFor(() => isWritten('many', 2), { what: 'the large batch' });
});

it('an event that Postgres has refused for two days becomes a rejected event', async () => {
  const stack = await startTestStack(cleanUps);
  await failAlways(stack, 'cursed');
  vi.spyOn(Clock.prototype, 'now').mockImplementation(() => Date.now() + 48 * 3_600_000);
  await stack.publish('events.acme.cursed', '{"secret":"data"}');
  const rejected = () => stack.query('SELECT tenant, subject, reason, message, size_bytes FROM rejected_events');
  await waitFor(async () => (await rejected()).length === 1, { what: 'the rejection' });
  expect(await rejected()).toEqual([
    {
      tenant: 'acme',
      subject: 'events.acme.cursed',
      reason: 'NOT_RECORDED',
      size_bytes: 17,
      message: 'the event could not be recorded: SQLSTATE 40001',
    },
  ]);
  await waitFor(async () => (await stack.unackedBy('EVENTS', 'dispatcher')) === 0, { what: 'it to be acked' });
});

it('no transaction is open while events are checked and matched', async () => {
  const stack = await startTestStack(cleanUps);
  const schema = { type: 'object', properties: { slow: { type: 'string', pattern: '^(a+)+$' } } };
  // Nearly 100,000 steps for each of the 180 items below.
  const conditions = Array.from({ length: 97 }, (_, index) => ({ a: { b: { c: { d: index } } } }));
  for (let index = 0; index < 12; index += 1) {
    await stack.app.subscribe({
      url: 'http://127.0.0.1:4',
      eventTypes: ['matched'],
      filter: { items: { x: { $or: [...conditions, { n: index }] } } },
    });
  }
  await stack.query('INSERT INTO event_types (name, schema) VALUES ($1, $2)', ['checked', JSON.stringify(schema)]);
  await stack.query('CREATE TABLE waits (type text, ms float8)');
  await stack.query(`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO waits VALUES (NEW.type, extract(epoch FROM clock_timestamp() - now()) * 1000); RETURN NEW; END $$`);
  await stack.query('CREATE TRIGGER note BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION note()');
  const slow = JSON.stringify({ slow: `${'a'.repeat(100)}b` });
  for (let count = 0; count < 3; count += 1) await stack.publish('events.acme.checked', slow);
  const items = JSON.stringify({ items: Array.from({ length: 180 }, () => ({})) });
  await Promise.all(Array.from({ length: 50 }, () => stack.publish('events.acme.matched', items)));
  const medianOf = async (type: string) => {
    const [row] = await stack.query<{ count: number; ms: number }>(
      'SELECT count(*)::integer, percentile_disc(0.5) WITHIN GROUP (ORDER BY ms) AS ms FROM waits WHERE type = $1',
      [type],
    );
    return row;
  };
  await waitFor(async () => (await medianOf('checked'))?.count === 3, { what: 'the checked events' });
  await waitFor(async () => (await medianOf('matched'))?.count === 50, { what: 'the matched events' });
  // Checking the data takes 500 ms, and matching a batch takes about as long. A stall of the machine may delay one of them.
  for (const type of ['checked', 'matched']) expect((await medianOf(type))?.ms, type).toBeLessThan(400);
});
