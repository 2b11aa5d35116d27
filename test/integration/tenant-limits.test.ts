import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { type ApiServer, startApiServer, tokenOf } from '../support/api-server.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { type Api, deliveryOf, startApi } from '../support/graphql-api.ts';
import { collect, createSocketClient, type OperationResponse, postOperation } from '../support/graphql-client.ts';
import { countWaiting, lockTable } from '../support/table-lock.ts';
import { waitFor } from '../support/wait-for.ts';

let api: Api;
let server: ApiServer;
const cleanUps = createCleanUps();

beforeAll(async () => {
  api = await startApi();
  server = await startApiServer(api, { rateLimit: 100_000 });
});
afterAll(async () => {
  await server.stop();
  await api.stop();
});

const postAs = async (tenant: string, query: string) =>
  postOperation(server.url, { credentials: await tokenOf(tenant), query });

const codesOf = ({ errors = [] }: OperationResponse) => errors.map(({ extensions }) => extensions?.['code']);

test('five operations of a tenant run at a time, two hundred wait, and other tenants are not delayed', async () => {
  const unlock = await lockTable(api.databaseUrl, { table: 'rejected_events' });
  cleanUps.push(unlock);
  const query = '{ rejectedEvents { nodes { id } } }';
  const answers: OperationResponse[] = [];
  const asked = Array.from({ length: 210 }, () =>
    postAs('greedy', query).then((answer) => {
      answers.push(answer);
    }),
  );
  await waitFor(() => answers.length === 5, { what: 'those that find no room' });
  expect(answers.map((answer) => codesOf(answer))).toEqual(Array.from({ length: 5 }, () => ['TOO_MANY_OPERATIONS']));
  expect((await postAs('modest', '{ events { nodes { id } } }')).data).toEqual({ events: { nodes: [] } });
  await unlock();
  await Promise.all(asked);
  expect(answers.slice(5).flatMap((answer) => codesOf(answer))).toEqual([]);
});

test("a mutation does not wait for another tenant's rows, so it can neither lock nor time them", async () => {
  const { id, subscriptionId } = await deliveryOf(api, 'victim');
  const client = new pg.Client({ connectionString: api.databaseUrl });
  await client.connect();
  cleanUps.push(() => client.end());
  await client.query(`BEGIN; SELECT FROM webhook_subscriptions FOR UPDATE; SELECT FROM deliveries FOR UPDATE;
    SELECT FROM subscription_states FOR UPDATE`);
  const credentials = await tokenOf('intruder', 'TENANT_WRITE');
  for (const field of [
    `updateWebhookSubscription(id: "${subscriptionId}", input: { isActive: false })`,
    `deleteWebhookSubscription(id: "${subscriptionId}")`,
    `rotateWebhookSecret(id: "${subscriptionId}")`,
    `sendTestEvent(subscriptionId: "${subscriptionId}")`,
    `retryDelivery(id: "${id}")`,
    `cancelDelivery(id: "${id}")`,
  ]) {
    const query = `mutation { result: ${field} { ... on Error { code } } }`;
    expect((await postOperation(server.url, { credentials, query })).data).toEqual({ result: { code: 'NOT_FOUND' } });
  }
});

test('slow statistics do not delay the look-up of keys', async () => {
  const unlock = await lockTable(api.databaseUrl, { table: 'uncounted_attempts' });
  cleanUps.push(unlock);
  const times = 'from: "2026-01-01T00:00:00Z", to: "2026-01-02T00:00:00Z"';
  const query = `{ deliveryStats(bucket: HOUR, ${times}) { total { attemptCount } } }`;
  const answered = [1, 2, 3].flatMap((tenant) => [1, 2, 3, 4, 5].map(() => postAs(`slow-${tenant}`, query)));
  await waitFor(async () => (await countWaiting(api.database.pool)) >= 10, { what: 'ten that wait' });
  const keyed = await postOperation(server.url, { credentials: `whk_${'0'.repeat(43)}`, query: '{ __typename }' });
  expect(keyed.status).toBe(401);
  await unlock();
  for (const answer of await Promise.all(answered)) expect(answer).toMatchObject({ data: { deliveryStats: {} } });
});

test('a tenant has at most a thousand live streams over all sockets', async () => {
  const credentials = await tokenOf('watcher');
  const open = (count: number) => {
    const client = createSocketClient(server.url, credentials);
    cleanUps.push(async () => {
      await client.dispose();
    });
    const streams = Array.from({ length: count }, () =>
      collect(client, { query: 'subscription { deliveryLog { id } }' }),
    );
    const errors = () => streams.flatMap((stream) => stream.errors);
    // Its answer comes after the answers to all earlier operations.
    return { client, errors, settled: client.iterate({ query: '{ __typename }' }).next() };
  };
  const sockets = Array.from({ length: 21 }, () => open(48));
  await Promise.all(sockets.map(({ settled }) => settled));
  await waitFor(() => sockets.flatMap(({ errors }) => errors()).length === 8, { what: 'eight too many' });
  expect(JSON.stringify(sockets.flatMap(({ errors }) => errors()))).toContain('TOO_MANY_OPERATIONS');
  await sockets[0]?.client.dispose();
  await waitFor(
    async () => {
      const { errors, settled } = open(1);
      await settled;
      return errors().length === 0;
    },
    { what: 'room for one more' },
  );
});

test('at most 16 MiB of event data can be requested at a time', async () => {
  const data = Buffer.from(JSON.stringify('x'.repeat(1_000_000)));
  for (let n = 0; n < 18; n += 1) {
    const id = uuid7(Date.now());
    await api.database.prisma.event.create({
      data: { id, eventId: id, tenant: 'heavy', type: 'large', occurredAt: new Date(), data },
    });
  }
  const events = (first: number) => postAs('heavy', `{ events(first: ${first}) { nodes { data } } }`);
  expect(codesOf(await events(18))).toContain('LIMIT_EXCEEDED');
  expect(codesOf(await events(10))).toEqual([]);
});

test('a query of more than 65,536 characters is rejected', async () => {
  const query = (length: number) => `{ __typename } #${'x'.repeat(length - 16)}`;
  expect(codesOf(await postAs('wordy', query(65_536)))).toEqual([]);
  expect(codesOf(await postAs('wordy', query(65_537)))).toEqual(['LIMIT_EXCEEDED']);
});
