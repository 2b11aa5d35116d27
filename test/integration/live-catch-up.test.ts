import type { Client } from 'graphql-ws';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Attempt, Delivery } from '../../src/generated/prisma/client.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { createDatabase, type Database } from '../../src/postgres/client.ts';
import { type ApiServer, startApiServer, tokenOf } from '../support/api-server.ts';
import { createAttemptRecorder } from '../support/attempt-recorder.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { ADMIN_KEY, type Api, attemptOf, deliveryOf, startApi, storeAttempt } from '../support/graphql-api.ts';
import { type Collected, collect, createSocketClient, openEvents, postOperation } from '../support/graphql-client.ts';
import { DELIVERY_LOG } from '../support/graphql-operations.graphql.ts';
import { countWaiting, lockTable } from '../support/table-lock.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';

const TENANT = 'returning';

let api: Api;
let server: ApiServer;
/** Separate connections from those of the api process. */
let own: Database;
let delivery: Delivery;
const cleanUps = createCleanUps();

beforeAll(async () => {
  api = await startApi();
  server = await startApiServer(api, { rateLimit: 100_000 });
  own = createDatabase({ url: api.databaseUrl, onError: () => undefined });
});
afterAll(async () => {
  await server.stop();
  await own.close();
  await api.stop();
});
beforeEach(async () => {
  delivery = await deliveryOf(api, TENANT);
});

function connect(credentials: string, at = server.url): Client {
  const client = createSocketClient(at, credentials);
  cleanUps.push(async () => {
    await client.dispose();
  });
  return client;
}

const query =
  'subscription ($filter: DeliveryFilter, $after: String) { deliveryLog(filter: $filter, after: $after) { id } }';

type Stream = Collected<{ readonly deliveryLog: { readonly id: string } }>;

function subscribe(client: Client, options: { filter?: object; after?: string | undefined } = {}): Stream {
  const filter = { subscriptionIds: [delivery.subscriptionId], ...options.filter };
  return collect(client, { query, variables: { ...options, filter } });
}

const idsOf = ({ data }: Stream) => data.map(({ deliveryLog }) => deliveryLog.id);

test('attempts committed after a client subscribed arrive, though the end of the log is read later and there is a gap', async () => {
  const { readPool } = api.database;
  const held = await Promise.all(Array.from({ length: 10 }, () => readPool.connect()));
  const recorder = createAttemptRecorder({ ...api, database: own }, delivery);
  const stream = subscribe(connect(ADMIN_KEY));
  await waitFor(() => readPool.waitingCount > 0, { what: 'the stream to ask for the end of the log' });
  const attempts = [recorder.prepare(), recorder.prepare(), recorder.prepare()];
  for (const [index, attempt] of attempts.entries())
    await (index === 1 ? recorder.recordUnannounced : recorder.record)(attempt);
  for (const client of held) client.release();
  await waitFor(() => stream.data.length >= 3, { what: 'three attempts' });
  expect(idsOf(stream)).toEqual(attempts.map(({ id }) => id));
});

/** Inserts attempts that are several minutes old; every thousandth failed. */
async function fillLog(count: number): Promise<void> {
  const first = await storeAttempt(own, attemptOf(delivery, { id: uuid7(Date.now() - 600_000) }));
  await own.pool.query(
    `INSERT INTO attempts SELECT r.* FROM attempts a, generate_series(1, $2::integer) n, jsonb_populate_record(a, jsonb_build_object(
       'id', overlay(overlay(a.id::text PLACING lpad(to_hex((n >> 16) & 65535), 4, '0') FROM 25) PLACING lpad(to_hex(n & 65535), 4, '0') FROM 29),
       'status', CASE WHEN n % 1000 = 0 THEN 'FAILURE' ELSE 'SUCCESS' END,
       'failure_reason', CASE WHEN n % 1000 = 0 THEN 'HTTP_STATUS' END,
       'status_code', CASE WHEN n % 1000 = 0 THEN 503 ELSE 200 END)) r WHERE a.id = $1`,
    [first.id, count],
  );
}

/** Sends a query as another tenant and returns its answer. */
async function askModestly(text: string): Promise<unknown> {
  return (await postOperation(server.url, { credentials: await tokenOf('modest'), query: text })).data;
}

test('200 streams that reconnect at once after minutes get all missed attempts, and delay no other client', async () => {
  const recorder = createAttemptRecorder({ ...api, database: own }, delivery);
  const old = recorder.prepare({}, Date.now() - 900_000);
  await recorder.record(old);
  const page = await api.run(DELIVERY_LOG, { filter: { subscriptionIds: [delivery.subscriptionId] } });
  const after = page.data?.deliveryLog.edges[0]?.cursor;
  await fillLog(20_000);
  const unlock = await lockTable(api.databaseUrl, { table: 'attempts' });
  cleanUps.push(unlock);
  const credentials = await tokenOf(TENANT);
  const clients = Array.from({ length: 5 }, () => connect(credentials));
  const filter = { statusCodes: [{ from: 503, to: 503 }] };
  const streams = clients.flatMap((client) => Array.from({ length: 40 }, () => subscribe(client, { filter, after })));
  // Its answer comes after the answers to all earlier operations.
  await Promise.all(clients.map((client) => client.iterate({ query: '{ __typename }' }).next()));
  await waitFor(async () => (await countWaiting(own.pool)) >= 2, { what: 'those that read' });
  expect(await askModestly('{ events { nodes { id } } }')).toEqual({ events: { nodes: [] } });
  // The two, and the live log itself if it reads meanwhile what nobody has announced.
  expect(await countWaiting(own.pool)).toBeLessThanOrEqual(3);
  await unlock();
  const isOver = () => streams.every(({ data, errors }) => data.length === 20 || errors.length > 0);
  while (!isOver())
    expect(await askModestly('{ deliveryLog { nodes { id } } }')).toEqual({ deliveryLog: { nodes: [] } });
  expect(streams.flatMap(({ errors }) => errors)).toEqual([]);
  expect(new Set(streams.map((stream) => idsOf(stream).join())).size).toBe(1);
});

test('a stream that cannot read missed attempts because Postgres is unavailable ends with an error, over both transports', async () => {
  const target = new URL(api.databaseUrl);
  const proxy = await startTcpProxy({ port: Number(target.port) });
  target.port = String(proxy.port);
  const database = createDatabase({ url: target.href, onError: () => undefined });
  const cut = await startApiServer({ ...api, database });
  cleanUps.push(
    () => database.close(),
    () => cut.stop(),
  );
  const recorder = createAttemptRecorder({ ...api, database: own }, delivery);
  const client = connect(ADMIN_KEY, cut.url);
  const socket = subscribe(client);
  // Its answer comes after the answers to all earlier operations.
  await client.iterate({ query: '{ __typename }' }).next();
  const filter = { subscriptionIds: [delivery.subscriptionId] };
  const events = await openEvents(cut.url, { credentials: ADMIN_KEY, query, variables: { filter } });
  const logOne = async (): Promise<Attempt> => {
    const attempt = recorder.prepare();
    await recorder.record(attempt);
    return attempt;
  };
  const first = await logOne();
  await waitFor(() => idsOf(socket).includes(first.id) && events.text().includes(first.id), {
    what: 'the first attempt',
  });
  await proxy.stop();
  await recorder.recordUnannounced(recorder.prepare());
  await logOne();
  await waitFor(() => socket.isOver && events.isOver(), { what: 'both streams to end' });
  expect(idsOf(socket)).toEqual([first.id]);
  expect(socket.errors).toMatchObject([{ extensions: { code: 'SERVICE_UNAVAILABLE' } }]);
  expect(events.text().match(/SERVICE_UNAVAILABLE/g)).toHaveLength(1);
  expect(events.text()).toMatch(/event: complete\s+(?:data:\s*)?$/);
});
