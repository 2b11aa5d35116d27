import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type ApiServer, startApiServer, tokenOf } from '../support/api-server.ts';
import { type AttemptRecorder, createAttemptRecorder } from '../support/attempt-recorder.ts';
import { type Api, deliveryOf, startApi } from '../support/graphql-api.ts';
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
