import { request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import type { Delivery } from '../../src/generated/prisma/client.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { createDatabase, type Database } from '../../src/postgres/client.ts';
import { type EngineProcess, startEngineProcess } from '../support/engine-process.ts';
import { attemptOf, seedDelivery, storeAttempt } from '../support/graphql-api.ts';
import { createSocketClient, openEvents } from '../support/graphql-client.ts';
import { type NatsParts, startNatsParts } from '../support/nats-parts.ts';
import { lockTable } from '../support/table-lock.ts';
import { ADMIN_API_KEY, startTestServices, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

/** Longer than an idle process takes to stop, including its connections to NATS and Postgres. */
const IDLE_STOP_MS = 3_500;

let services: TestServices;
let database: Database;
let nats: NatsParts;
let delivery: Delivery;
beforeAll(async () => {
  services = await startTestServices();
  database = createDatabase({ url: services.databaseUrl, onError: () => undefined });
  nats = startNatsParts({ servers: [services.nats.url], log: pino({ level: 'silent' }) });
  const subscription = await database.prisma.webhookSubscription.create({
    data: { id: uuid7(Date.now()), tenant: 'acme', url: 'https://example.com/', eventTypes: ['*'] },
  });
  delivery = await seedDelivery(database, { subscriptionId: subscription.id, tenant: 'acme' });
});
afterAll(async () => {
  await nats.natsClient.stop();
  await database.close();
  await services.stop();
});

/** A running operation; `leave` disconnects its client. */
type Begun = { readonly leave: () => unknown };

const MUTATION = `mutation {
  first: putEventType(input: { name: "first" }) { __typename }
  second: putEventType(input: { name: "second" }) { __typename }
}`;
const WATCH = 'subscription { deliveryLog { id delivery { event { data } subscription { url } } } }';

function overSocket({ url }: EngineProcess, query: string): Begun {
  const client = createSocketClient(url, ADMIN_API_KEY);
  client.subscribe({ query }, { next: () => undefined, error: () => undefined, complete: () => undefined });
  // The server closes the socket.
  return { leave: () => undefined };
}

function overHttp({ url }: EngineProcess, query: string): Begun {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${ADMIN_API_KEY}` };
  const outgoing = request(`${url}/graphql`, { method: 'POST', headers });
  outgoing.on('error', () => undefined);
  outgoing.end(JSON.stringify({ query }));
  return { leave: () => outgoing.destroy() };
}

async function overEvents({ url }: EngineProcess, query: string): Promise<Begun> {
  const events = await openEvents(url, { credentials: ADMIN_API_KEY, query });
  return {
    leave: () => {
      events.close();
    },
  };
}

async function isWaiting(table: string): Promise<boolean> {
  const waiting = await services.query(
    `SELECT FROM pg_stat_activity
     WHERE wait_event_type = 'Lock' AND datname = current_database() AND query LIKE '%' || $1 || '%'`,
    [table],
  );
  return waiting.length > 0;
}

/** Logs attempts until one arrives: the server starts to watch the log some time after the subscription. */
async function logAttempt(): Promise<void> {
  const attempt = await storeAttempt(database, attemptOf(delivery));
  nats.feed.announce({ ...attempt, previousId: undefined, isLate: false });
}

it.each([
  ['a mutation over WebSocket', { table: 'event_types', query: MUTATION, begin: overSocket }],
  ['a mutation whose client has disconnected', { table: 'event_types', query: MUTATION, begin: overHttp }],
  ['a live value over WebSocket', { table: 'events', query: WATCH, begin: overSocket }],
  ['a live value whose client has disconnected', { table: 'events', query: WATCH, begin: overEvents }],
])('the stop waits for %s', async (_what, { table, query, begin }) => {
  await services.query('TRUNCATE event_types');
  const engine = await startEngineProcess(services, { ROLES: 'api' });
  onTestFinished(() => engine.kill9());
  const unlock = await lockTable(services.databaseUrl, { table });
  onTestFinished(unlock);
  const { leave } = await begin(engine, query);
  const what = 'the operation to wait for the lock';
  await waitFor(
    async () => {
      if (query === WATCH) await logAttempt();
      return isWaiting(table);
    },
    { what },
  );
  leave();
  const stopped = engine.terminate();
  await waitFor(() => engine.output().includes('"stopping"'), { what: 'the stop' });
  await pause(IDLE_STOP_MS);
  // Even without the wait, the connection to Postgres would keep the process alive until the statement ends.
  expect(engine.output()).not.toContain('"stopped"');
  await unlock();
  expect(await stopped).toBe(0);
  const written = await services.query('SELECT name FROM event_types ORDER BY name');
  expect(written).toEqual(query === MUTATION ? [{ name: 'first' }, { name: 'second' }] : []);
  const lines = engine.output().split('\n');
  expect(lines.filter((line) => /"level":(?:50|60)|operation failed|ERR_UNHANDLED/.test(line))).toEqual([]);
});
