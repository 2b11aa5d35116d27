import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Delivery } from '../../src/generated/prisma/client.ts';
import { type Following, follow, startApiProcess } from '../support/api-process.ts';
import type { ApiServer } from '../support/api-server.ts';
import { createAttemptRecorder } from '../support/attempt-recorder.ts';
import { type Api, deliveryOf, startApi } from '../support/graphql-api.ts';
import { DELIVERY_LOG } from '../support/graphql-operations.graphql.ts';
import { findOwnPort } from '../support/own-port.ts';
import { seededChance } from '../support/seeded-chance.ts';
import { waitFor } from '../support/wait-for.ts';

let api: Api;
let first: ApiServer;
let second: ApiServer;
let delivery: Delivery;
const following: Following[] = [];

beforeAll(async () => {
  api = await startApi();
  [first, second] = await Promise.all([startApiProcess(api), startApiProcess(api)]);
});
afterAll(async () => {
  await Promise.all([first.stop(), second.stop()]);
  await api.stop();
});
beforeEach(async () => {
  delivery = await deliveryOf(api, 'acme');
});
afterEach(async () => {
  await Promise.all(following.splice(0).map((each) => each.stop()));
});

function start(options: { url?: string; after?: string | undefined; retryAttempts?: number } = {}): Following {
  const started = follow({ url: first.url, subscriptionId: delivery.subscriptionId, ...options });
  following.push(started);
  return started;
}

/** Returns the cursor of a new attempt at the end of the log. */
async function cursorOfNow(): Promise<string> {
  const recorder = createAttemptRecorder(api, delivery);
  await recorder.record(recorder.prepare());
  const { data } = await api.run(DELIVERY_LOG, { filter: { subscriptionIds: [delivery.subscriptionId] } });
  return data?.deliveryLog.edges[0]?.cursor ?? '';
}

function arrived(reader: Following, count: number): Promise<unknown> {
  return waitFor(() => reader.ids.length >= count, { what: `${count} attempts` });
}

test('an attempt with an earlier id that another process commits during a disconnection is shown after it', async () => {
  const after = await cursorOfNow();
  const [one, other] = [createAttemptRecorder(api, delivery), createAttemptRecorder(api, delivery)];
  const reader = start({ after });
  const late = other.prepare({}, Date.now() - 5);
  const early = one.prepare();
  await one.record(early);
  await arrived(reader, 1);
  await reader.stop();
  await other.record(late);
  const again = start({ url: second.url, after: reader.cursor() });
  await arrived(again, 1);
  const next = one.prepare();
  await one.record(next);
  await arrived(again, 2);
  expect(late.id < early.id).toBe(true);
  expect(again.ids).toEqual([late.id, next.id]);
});

test('an attempt that was committed without an announcement is shown before the next one of the same process', async () => {
  const recorder = createAttemptRecorder(api, delivery);
  const reader = start({ after: await cursorOfNow() });
  const attempts = [recorder.prepare(), recorder.prepare(), recorder.prepare()];
  for (const [index, attempt] of attempts.entries())
    await (index % 2 === 1 ? recorder.recordUnannounced : recorder.record)(attempt);
  await arrived(reader, 3);
  expect(reader.ids).toEqual(attempts.map(({ id }) => id));
});

test('the last attempts of a process that was killed before it announced them arrive', async () => {
  const after = await cursorOfNow();
  const recorder = createAttemptRecorder(api, delivery);
  const reader = start({ after });
  const attempts = [recorder.prepare(), recorder.prepare()];
  for (const attempt of attempts) await recorder.recordUnannounced(attempt);
  await arrived(reader, 2);
  expect(reader.ids).toEqual(attempts.map(({ id }) => id));
});

test('an attempt committed half a minute late is shown to watchers that have seen newer attempts', async () => {
  const after = await cursorOfNow();
  const [one, other] = [createAttemptRecorder(api, delivery), createAttemptRecorder(api, delivery)];
  const reader = start({ after });
  const late = one.prepare({}, Date.now() - 30_000);
  const timely = other.prepare();
  await other.record(timely);
  await arrived(reader, 1);
  await one.record(late);
  const next = one.prepare();
  await one.record(next);
  await arrived(reader, 3);
  expect(reader.ids).toEqual([timely.id, late.id, next.id]);
});

test('an attempt committed half a minute late and read from Postgres is not shown again when it is announced', async () => {
  const recorder = createAttemptRecorder(api, delivery);
  await recorder.record(recorder.prepare({}, Date.now() - 60_000));
  const { data } = await api.run(DELIVERY_LOG, { filter: { subscriptionIds: [delivery.subscriptionId] } });
  const late = recorder.prepare({}, Date.now() - 30_000);
  await recorder.recordUnannounced(late);
  const reader = start({ after: data?.deliveryLog.edges[0]?.cursor ?? '' });
  await arrived(reader, 1);
  api.feed.announce(late);
  const next = recorder.prepare();
  await recorder.record(next);
  await arrived(reader, 2);
  expect(reader.ids).toEqual([late.id, next.id]);
});

test('attempts committed while NATS was unavailable arrive after it is available again', async () => {
  const recorder = createAttemptRecorder(api, delivery);
  const reader = start({ after: await cursorOfNow() });
  const attempts = [recorder.prepare(), recorder.prepare()];
  await recorder.record(attempts[0] ?? recorder.prepare());
  await arrived(reader, 1);
  await api.nats.kill9();
  await recorder.record(attempts[1] ?? recorder.prepare());
  await api.nats.start();
  await arrived(reader, 2);
  expect(reader.ids).toEqual(attempts.map(({ id }) => id));
});

test('a cursor of the live log is also valid for pages of the log', async () => {
  const recorder = createAttemptRecorder(api, delivery);
  const reader = start({ after: await cursorOfNow() });
  await recorder.record(recorder.prepare());
  const last = recorder.prepare();
  await recorder.record(last);
  await arrived(reader, 2);
  const filter = { subscriptionIds: [delivery.subscriptionId] };
  const page = await api.run(DELIVERY_LOG, { filter, after: reader.cursor() ?? '' });
  expect(page.errors).toBeUndefined();
  expect(page.data?.deliveryLog.edges.map(({ node }) => node.id)).toHaveLength(2);
  expect(page.data?.deliveryLog.edges.map(({ node }) => node.id)).not.toContain(last.id);
});

test('the graphql-ws client that reconnects automatically to a restarted server gets every attempt once', async () => {
  const port = await findOwnPort();
  let server = await startApiProcess(api, port);
  const reader = start({ url: server.url, after: await cursorOfNow(), retryAttempts: Number.POSITIVE_INFINITY });
  const recorder = createAttemptRecorder(api, delivery);
  const ids: string[] = [];
  for (let round = 0; round < 5; round += 1) {
    for (let number = 0; number < 20; number += 1) {
      const attempt = recorder.prepare({ number });
      ids.push(attempt.id);
      await recorder.record(attempt);
      if (number === 10) {
        await server.stop();
        server = await startApiProcess(api, port);
      }
    }
  }
  await arrived(reader, ids.length);
  expect(reader.ids).toEqual(ids);
  // dispose() has no effect on a client that is reconnecting.
  await reader.stop();
  following.splice(0);
  await server.stop();
});

test('readers that change between api processes get every attempt once, while several processes log out of order', async () => {
  const seed = 20_261_122;
  const after = await cursorOfNow();
  const written: string[] = [];
  let logging = true;
  const writeMany = async (name: string) => {
    const recorder = createAttemptRecorder(api, delivery);
    for (let index = 0; index < 150; index += 1) {
      const chance = seededChance(seed, `${name} ${index}`);
      const attempt = recorder.prepare();
      // A delay between the creation of the id and the commit: attempts are committed out of order.
      await delay(chance * 20);
      await (chance < 0.1 ? recorder.recordUnannounced : recorder.record)(attempt);
      written.push(attempt.id);
    }
  };
  const readMany = async (name: string) => {
    const ids: string[] = [];
    let cursor: string | undefined = after;
    for (let turn = 0; logging || ids.length < written.length; turn += 1) {
      const url = seededChance(seed, `${name} server ${turn}`) < 0.5 ? first.url : second.url;
      const reader = start({ url, after: cursor });
      const wanted = 1 + Math.floor(seededChance(seed, `${name} ${turn}`) * 40);
      await waitFor(
        () => reader.ids.length >= wanted || (!logging && ids.length + reader.ids.length >= written.length),
        {
          what: `attempts for ${name}: ${ids.length} and ${reader.ids.length} of ${written.length}`,
        },
      );
      await reader.stop();
      ids.push(...reader.ids);
      cursor = reader.cursor();
    }
    return ids;
  };
  const reading = [readMany('a'), readMany('b'), readMany('c')];
  await Promise.all(['one', 'two', 'three'].map((name) => writeMany(name)));
  logging = false;
  for (const ids of await Promise.all(reading)) {
    expect(ids.filter((id, index) => ids.indexOf(id) < index)).toEqual([]);
    expect([...ids].sort()).toEqual([...written].sort());
  }
});

test('400 sockets watch one process', async () => {
  const recorder = createAttemptRecorder(api, delivery);
  const own = await startApiProcess(api);
  const readers: Following[] = [];
  const after = await cursorOfNow();
  for (let index = 0; index < 400; index += 1) readers.push(start({ url: own.url, after }));
  const attempts = Array.from({ length: 5 }, () => recorder.prepare());
  for (const attempt of attempts) await recorder.record(attempt);
  const isOver = () => readers.every(({ ids, errors }) => ids.length === 5 || errors.length > 0);
  await waitFor(isOver, { what: 'everybody' });
  expect(readers.flatMap(({ errors }) => errors)).toEqual([]);
  const expected = attempts.map(({ id }) => id).join();
  expect(new Set(readers.map(({ ids }) => ids.join()))).toEqual(new Set([expected]));
  await own.stop();
});
