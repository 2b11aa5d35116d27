import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { InFlight } from '../../src/lib/in-flight.ts';
import { createGraphql } from '../../src/server/graphql.ts';
import { createOperationMetrics } from '../../src/server/plugins/metrics.ts';
import { type ApiServer, startApiServer, tokenOf } from '../support/api-server.ts';
import { type AttemptRecorder, createAttemptRecorder } from '../support/attempt-recorder.ts';
import { ADMIN_KEY, type Api, deliveryOf, SETTINGS, startApi } from '../support/graphql-api.ts';
import { createSocketClient, collect as open, postOperation } from '../support/graphql-client.ts';
import { countWaiting, lockTable } from '../support/table-lock.ts';
import { waitFor } from '../support/wait-for.ts';

let api: Api;
let server: ApiServer;

beforeAll(async () => {
  api = await startApi();
  // So that a stream that waits soon reads from Postgres again.
  server = await startApiServer(api, { rateLimit: 100_000, maxBuffered: 3 });
});
afterAll(async () => {
  await server.stop();
  await api.stop();
});

type Log = { readonly deliveryLog: { readonly id: string } };

/** Opens live streams of a tenant over one socket, and waits until each has begun. */
async function follow(
  tenant: string,
  { query, count, recorder }: { query: string; count: number; recorder: AttemptRecorder },
) {
  const client = createSocketClient(server.url, await tokenOf(tenant));
  onTestFinished(() => void client.dispose());
  const streams = Array.from({ length: count }, () => open<Log>(client, { query }));
  await waitFor(
    async () => {
      await recorder.record(recorder.prepare());
      return streams.every(({ data }) => data.length > 0);
    },
    { what: 'the streams to begin' },
  );
  const last = recorder.prepare();
  await recorder.record(last);
  const ids = ({ data }: (typeof streams)[number]) => data.map(({ deliveryLog }) => deliveryLog.id);
  await waitFor(() => streams.every((stream) => ids(stream).at(-1) === last.id), { what: 'the last attempt' });
  return { streams, ids };
}

test('one change that is a value of 15 streams of a tenant leaves connections to other tenants', async () => {
  const recorder = createAttemptRecorder(api, await deliveryOf(api, 'watcher'));
  const query = 'subscription { deliveryLog { id subscription { health { lastAttemptAt } } } }';
  const { streams, ids } = await follow('watcher', { query, count: 15, recorder });
  const unlock = await lockTable(api.databaseUrl, { table: 'subscription_states' });
  onTestFinished(unlock);
  const attempt = recorder.prepare();
  await recorder.record(attempt);
  const waiting = () => countWaiting(api.database.pool);
  await waitFor(async () => (await waiting()) >= 2, { what: 'two values that read' });
  const credentials = await tokenOf('modest');
  const { data } = await postOperation(server.url, { credentials, query: '{ rejectedEvents { nodes { id } } }' });
  expect(data).toEqual({ rejectedEvents: { nodes: [] } });
  expect(await waiting()).toBe(2);
  await unlock();
  await waitFor(() => streams.every((stream) => ids(stream).at(-1) === attempt.id), { what: 'the value' });
  expect(streams.flatMap(({ errors }) => errors)).toEqual([]);
});

test("values are charged to the tenant's CPU time, and a stream that waits for it misses nothing", async () => {
  const recorder = createAttemptRecorder(api, await deliveryOf(api, 'spender'));
  // 20,000 values of the answer for each alias: 600 ms in all, of the 800 ms that the tenant has.
  const aliases = Array.from({ length: 15 }, (_, n) => `h${n}: requestHeaders`);
  const query = `subscription { deliveryLog { id ${aliases.join(' ')} } }`;
  const { streams, ids } = await follow('spender', { query, count: 1, recorder });
  const [stream] = streams;
  const received = () => (stream === undefined ? [] : ids(stream));
  const before = received().length;
  const requestHeaders = Array.from({ length: 20_000 }, () => 0);
  const attempts = Array.from({ length: 6 }, () => recorder.prepare({ requestHeaders }));
  await recorder.record(...attempts);
  const credentials = await tokenOf('spender');
  const codes = async () => {
    const { errors = [] } = await postOperation(server.url, { credentials, query: '{ __typename }' });
    return errors.map(({ extensions }) => extensions?.['code']);
  };
  await expect.poll(codes).toEqual(['RATE_LIMITED']);
  await waitFor(() => received().length >= before + attempts.length, { what: 'the attempts' });
  const next = recorder.prepare();
  await recorder.record(next);
  await waitFor(() => received().at(-1) === next.id, { what: 'the next attempt' });
  expect(received().slice(before)).toEqual([...attempts, next].map(({ id }) => id));
  expect(stream?.errors).toEqual([]);
});

/** Starts operations of a tenant, whose name is the credential; tenants named `broke…` have no CPU time after `spend`. */
function createBroke() {
  let isSpent = false;
  const graphql = createGraphql({
    ...api,
    credentials: {
      authenticate: (tenant = '') => Promise.resolve({ credentialId: tenant, scope: 'TENANT_WRITE', tenant }),
      watch: () => ({ signal: new AbortController().signal, release: () => undefined }),
    },
    settings: SETTINGS,
    stopping: new AbortController().signal,
    takeOperation: () => 0,
    cpuShares: ({ tenant = '' }) => ({
      spend: () => undefined,
      waitMs: () => (isSpent && tenant.startsWith('broke') ? 100 : 0),
    }),
    operations: new InFlight(),
    operationMetrics: createOperationMetrics(new Registry()),
  });
  const start = async (tenant: string, query: string, accept = 'application/json') => {
    const headers = { 'content-type': 'application/json', accept, authorization: tenant };
    return graphql.fetch('http://test/graphql', { method: 'POST', headers, body: JSON.stringify({ query }) });
  };
  return {
    start,
    spend: () => {
      isSpent = true;
    },
  };
}

test('streams that catch up while their tenants have no CPU time do not delay the stream of another tenant', async () => {
  const cursor = await api.graphql.fetch('http://test/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${ADMIN_KEY}` },
    body: JSON.stringify({ query: '{ deliveryLogCursor }' }),
  });
  const { data } = (await cursor.json()) as { data: { deliveryLogCursor: string } };
  const { start, spend } = createBroke();
  const unlock = await lockTable(api.databaseUrl, { table: 'attempts' });
  onTestFinished(unlock);
  const query = `subscription { deliveryLog(after: "${data.deliveryLogCursor}") { id } }`;
  for (const tenant of ['broke-1', 'broke-1', 'broke-2', 'broke-2']) {
    const { body } = await start(tenant, query, 'text/event-stream');
    const reader = body?.getReader();
    void reader?.read();
    onTestFinished(() => reader?.cancel());
  }
  await waitFor(async () => (await countWaiting(api.database.pool)) >= 3, { what: 'three streams that read' });
  spend();
  await unlock();
  const answer = await start('modest', '{ deliveryLogCursor }');
  expect(await answer.json()).toMatchObject({ data: { deliveryLogCursor: expect.any(String) as string } });
});

test('a change holds its locks no longer because its tenant has no CPU time', async () => {
  const { subscriptionId } = await deliveryOf(api, 'broke');
  await api.database.pool.query(`INSERT INTO event_types (name, updated_at) VALUES ('order.paid', now())`);
  onTestFinished(async () => {
    await api.database.pool.query('DELETE FROM event_types');
  });
  const { start, spend } = createBroke();
  const unlock = await lockTable(api.databaseUrl, { table: 'event_types' });
  onTestFinished(unlock);
  const input = `{ eventTypes: ["order.paid"] }`;
  const mutation = `mutation { updateWebhookSubscription(id: "${subscriptionId}", input: ${input}) { __typename } }`;
  const answer = start('broke', mutation);
  await waitFor(async () => (await countWaiting(api.database.pool)) === 1, { what: 'the change' });
  spend();
  await unlock();
  const read = 'SELECT event_types FROM webhook_subscriptions WHERE id = $1';
  await waitFor(
    async () => {
      const { rows } = await api.database.pool.query<{ event_types: string[] }>(read, [subscriptionId]);
      return rows[0]?.event_types.includes('order.paid') === true;
    },
    { what: 'the change to be committed' },
  );
  expect((await answer).status).toBe(200);
});
