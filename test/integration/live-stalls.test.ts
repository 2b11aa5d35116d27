import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createDatabase } from '../../src/database/client.ts';
import { uuid7Time } from '../../src/database/uuid7.ts';
import type { Delivery } from '../../src/generated/prisma/client.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';
import type { ApiServer } from './api-server.ts';
import { type Api, deliveryOf, startApi } from './graphql-api.ts';
import { DELIVERY_LOG } from './graphql-operations.graphql.ts';
import { createLogger, type Following, follow, startApiProcess } from './live-process.ts';

/** After which everything is taken for seen. */
const SETTLED_AFTER_MS = 15_000;

let api: Api;
let server: ApiServer;
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
  delivery = await deliveryOf(api, 'acme');
});
afterEach(async () => {
  await Promise.all(following.splice(0).map((each) => each.stop()));
});

function start(after: string | undefined, url = server.url): Following {
  const started = follow({ url, subscriptionId: delivery.subscriptionId, after });
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
  const back = start(reader.cursor());
  const beforeIt = other.prepare();
  await other.log(beforeIt);
  await arrived(back, 1);
  api.bus.announce(attempt);
  const next = other.prepare();
  await other.log(next);
  for (const each of [reader, back]) await waitFor(() => each.ids.includes(next.id), { what: 'the next attempt' });
  expect(reader.ids).toEqual([attempt.id, between.id, beforeIt.id, next.id]);
  expect(back.ids).toEqual([beforeIt.id, next.id]);
}, 60_000);

test('what senders could not commit is there for who was with an api process that was started during the outage', async () => {
  const [one, other] = [createLogger(api, delivery), createLogger(api, delivery)];
  const target = new URL(api.databaseUrl);
  let isAway = true;
  const proxy = await startTcpProxy({ port: Number(target.port), toServer: (text) => (isAway ? undefined : text) });
  target.port = String(proxy.port);
  const database = createDatabase({ url: target.href, onError: () => undefined });
  const begun = Date.now() - 40_000;
  await one.log(one.prepare({}, begun - 60_000));
  const { data } = await api.run(DELIVERY_LOG, { filter: { subscriptionIds: [delivery.subscriptionId] } });
  const after = data?.deliveryLog.edges[0]?.cursor ?? '';
  const late = other.prepare({}, begun);
  const fresh = await startApiProcess({ ...api, database, databaseUrl: target.href });
  try {
    isAway = false;
    const reader = start(after, fresh.url);
    const first = one.prepare();
    await one.log(first);
    await arrived(reader, 1);
    await reader.stop();
    await other.log(late);
    const back = start(reader.cursor(), fresh.url);
    await arrived(back, 1);
    const next = one.prepare();
    await one.log(next);
    await waitFor(() => back.ids.includes(next.id), { what: 'the next attempt' });
    expect([...reader.ids, ...back.ids]).toEqual([first.id, late.id, next.id]);
  } finally {
    await fresh.stop();
    await database.close();
    await proxy.stop();
  }
}, 60_000);
