import { afterAll, beforeAll, expect, it } from 'vitest';
import { uuid7 } from '../../src/database/uuid7.ts';
import { ReplayFeed } from '../../src/delivery/replay-feed.ts';
import type { Delivery } from '../../src/generated/prisma/client.ts';
import { createGraphql, type Graphql } from '../../src/server/graphql.ts';
import { type Api, expectType, post, seedDelivery, startApi } from './graphql-api.ts';
import { CREATE } from './graphql-operations.graphql.ts';

let api: Api;
let delivery: Delivery;
let replayId: string;
const stopping = new AbortController();

beforeAll(async () => {
  api = await startApi();
  const input = { tenant: 'acme', url: 'https://example.com', eventTypes: ['*'] };
  const { data } = await api.run(CREATE, { input });
  const { subscription } = expectType(data?.createWebhookSubscription, 'CreateWebhookSubscriptionPayload');
  delivery = await seedDelivery(api.database, { subscriptionId: subscription.id, tenant: 'acme' });
  const replay = { id: uuid7(Date.now()), tenant: 'acme', filter: {}, ratePerSecond: 1, deliveryCount: 0 };
  replayId = (await api.database.prisma.replay.create({ data: { ...replay, status: 'RUNNING' } })).id;
});
afterAll(async () => {
  stopping.abort();
  await api.stop();
});

/** GraphQL as somebody of this tenant sees it. */
function as(tenant: string): Graphql {
  const { database, secretBox, bus, log } = api;
  const egressPolicy = { allowCidrs: [], allowHttp: 'never' as const, denyPorts: new Set<number>() };
  return createGraphql({
    services: { database, secretBox, bus, egressPolicy, replayFeed: new ReplayFeed(database, log), log },
    authenticate: () => Promise.resolve({ kind: 'tenant', tenant, scope: 'write' }),
    log,
    stopping: stopping.signal,
  });
}

async function ask(tenant: string, query: string): Promise<unknown> {
  const { data, errors } = await post<Record<string, unknown>>(as(tenant), JSON.stringify({ query }));
  return data ?? errors?.map(({ extensions }) => extensions?.['code']);
}

it.each(['retryDelivery', 'cancelDelivery'])(
  "%s of another tenant's delivery is NOT_FOUND, and does nothing",
  async (name) => {
    const query = `mutation { result: ${name}(id: "${delivery.id}") { ... on Error { code } } }`;
    expect(await ask('globex', query)).toEqual({ result: { code: 'NOT_FOUND' } });
    const { id } = delivery;
    expect(await api.database.prisma.delivery.findUniqueOrThrow({ where: { id } })).toEqual(delivery);
    expect(await ask('acme', query)).toEqual({ result: {} });
  },
);

it("another tenant's replay is not there", async () => {
  expect(await ask('globex', `{ replay(id: "${replayId}") { id } }`)).toEqual({ replay: null });
  expect(await ask('globex', '{ replays { nodes { id } } }')).toEqual({ replays: { nodes: [] } });
  expect(await ask('globex', '{ replays(filter: { tenant: "acme" }) { nodes { id } } }')).toEqual(['INVALID_INPUT']);
  const cancel = `mutation { cancelReplay(id: "${replayId}") { ... on Error { code } } }`;
  expect(await ask('globex', cancel)).toEqual({ cancelReplay: { code: 'NOT_FOUND' } });
  expect(await ask('acme', `{ replay(id: "${replayId}") { status } }`)).toEqual({ replay: { status: 'RUNNING' } });
});

it("another tenant's replay cannot be watched", async () => {
  const response = await as('globex').fetch('http://test/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify({ query: `subscription { replayProgress(id: "${replayId}") { id } }` }),
  });
  const text = await response.text();
  expect(text).toContain('NOT_FOUND');
  expect(text).not.toContain(replayId);
});

it('a replay is of the tenant whose credentials start it, and of nobody else', async () => {
  const start = (filter: string) =>
    `mutation { startReplay(input: { filter: ${filter}, dryRun: true }) {
       ... on StartReplayPayload { replay { tenant deliveryCount } } ... on Error { code } } }`;
  const filter = `{ subscriptionIds: ["${delivery.subscriptionId}"] }`;
  expect(await ask('globex', start(filter))).toEqual({
    startReplay: { replay: { tenant: 'globex', deliveryCount: 0 } },
  });
  expect(await ask('acme', start(filter))).toEqual({ startReplay: { replay: { tenant: 'acme', deliveryCount: 1 } } });
  expect(await ask('globex', start('{ tenant: "acme" }'))).toEqual({ startReplay: { code: 'INVALID_INPUT' } });
});
