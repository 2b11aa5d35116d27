import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { uuid7Time } from '../../src/database/uuid7.ts';
import type { Delivery } from '../../src/generated/prisma/client.ts';
import { waitFor } from '../support/wait-for.ts';
import { type Api, expectType, seedDelivery, startApi } from './graphql-api.ts';
import { CREATE, DELIVERY_LOG } from './graphql-operations.graphql.ts';
import { type ApiProcess, createLogger, type Following, follow, startApiProcess } from './live-process.ts';

/** After which everything is taken for seen. */
const SETTLED_AFTER_MS = 15_000;

let api: Api;
let server: ApiProcess;
let delivery: Delivery;
const following: Following[] = [];

beforeAll(async () => {
  api = await startApi();
  server = await startApiProcess(api);
});
afterAll(async () => {
  await server.stop();
  await api.stop();
});
beforeEach(async () => {
  const input = { tenant: 'acme', url: 'https://example.com', eventTypes: ['*'] };
  const { data } = await api.run(CREATE, { input });
  const { subscription } = expectType(data?.createWebhookSubscription, 'CreateWebhookSubscriptionPayload');
  delivery = await seedDelivery(api.database, { subscriptionId: subscription.id, tenant: 'acme' });
});
afterEach(async () => {
  await Promise.all(following.splice(0).map((each) => each.stop()));
});

function start(after: string | undefined): Following {
  const started = follow({ url: server.url, subscriptionId: delivery.subscriptionId, after });
  following.push(started);
  return started;
}

async function cursorOfNow(): Promise<string> {
  const logger = createLogger(api, delivery);
  await logger.log(logger.prepare());
  const { data } = await api.run(DELIVERY_LOG, { filter: { subscriptionIds: [delivery.subscriptionId] } });
  return data?.deliveryLog.edges[0]?.cursor ?? '';
}

function arrived(reader: Following, count: number): Promise<unknown> {
  return waitFor(() => reader.ids.length >= count, { what: `${count} attempts` });
}

test('what a sender committed in time is not shown again if it stood still before it announced it', async () => {
  const [standing, other] = [createLogger(api, delivery), createLogger(api, delivery)];
  const reader = start(await cursorOfNow());
  const attempt = standing.prepare();
  await standing.logUnheard(attempt);
  await arrived(reader, 1);
  const isOld = () => Date.now() - uuid7Time(attempt.id) > SETTLED_AFTER_MS + 3_000;
  await waitFor(isOld, { what: 'the attempt to be old', timeoutMs: 30_000 });
  const between = other.prepare();
  await other.log(between);
  await arrived(reader, 2);
  api.bus.announce(attempt);
  const next = other.prepare();
  await other.log(next);
  await waitFor(() => reader.ids.includes(next.id), { what: 'the next attempt' });
  expect(reader.ids).toEqual([attempt.id, between.id, next.id]);
}, 60_000);
