import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { NewDelivery } from '../../src/delivery/queue/store.ts';
import { insertBatch } from '../../src/events/insert-batch.ts';
import { SubscriptionIndexes } from '../../src/events/matching/subscription-index.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import type { Database, Queryable } from '../../src/postgres/client.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';
import { waitFor } from '../support/wait-for.ts';

let opened: OpenTestDatabase;
let database: Database;
beforeAll(async () => {
  opened = await openTestDatabase();
  ({ database } = opened);
});
afterAll(async () => {
  await opened.close();
});
beforeEach(async () => {
  await database.pool.query(
    'TRUNCATE events, event_ids, deliveries, webhook_subscriptions, tenants, event_types CASCADE',
  );
});

const TENANT = 'acme';
const TYPE = 'order.paid';
const NO_TYPES = new Map([[TYPE, 0]]);

const subscribe = async () => {
  const data = { id: uuid7(Date.now()), tenant: TENANT, url: 'https://example.com/', eventTypes: ['*'] };
  return (await database.prisma.webhookSubscription.create({ data })).id;
};

function eventFor(
  subscriptionId: string,
  { eventId, isQueued = false }: { eventId?: string; isQueued?: boolean } = {},
) {
  const id = uuid7(Date.now());
  const event = {
    id,
    tenant: TENANT,
    eventId: eventId ?? id,
    type: TYPE,
    occurredAt: new Date(),
    data: Buffer.from('1'),
  };
  const delivery: NewDelivery = {
    id: uuid7(Date.now()),
    tenant: TENANT,
    subscriptionId,
    eventRowId: id,
    eventType: TYPE,
    isQueued,
  };
  return { event, delivery };
}

const knownTenant = (version: number) => ({ tenants: new Map([[TENANT, version]]), eventTypes: NO_TYPES });

const counts = async () => {
  const { rows } = await database.pool.query<{ events: number; ids: number; deliveries: number }>(
    `SELECT (SELECT count(*) FROM events)::integer AS events, (SELECT count(*) FROM event_ids)::integer AS ids,
       (SELECT count(*) FROM deliveries)::integer AS deliveries`,
  );
  return rows[0];
};

it('nothing is inserted after a subscription has changed, until the change is known', async () => {
  const subscriptionId = await subscribe();
  const indexes = new SubscriptionIndexes(1_000);
  const tenants = new Set([TENANT]);
  const before = (await indexes.get(database.pool, tenants)).get(TENANT)?.version ?? -1;
  await database.prisma.webhookSubscription.update({ where: { id: subscriptionId }, data: { isActive: false } });
  const { event, delivery } = eventFor(subscriptionId, { eventId: 'given' });
  const batch = { events: [event], deliveries: [delivery] };
  expect(await insertBatch(database.pool, { ...batch, known: knownTenant(before) })).toBeUndefined();
  expect(await counts()).toEqual({ events: 0, ids: 0, deliveries: 0 });
  // get() does not read a cached index again.
  expect((await indexes.get(database.pool, tenants)).get(TENANT)?.version).toBe(before);
  const after = (await indexes.update(database.pool, tenants)).get(TENANT)?.version ?? -1;
  expect(await insertBatch(database.pool, { ...batch, known: knownTenant(after) })).toEqual({
    newIds: new Set([event.id]),
    toPublish: new Set([delivery.id]),
  });
  expect(await counts()).toEqual({ events: 1, ids: 1, deliveries: 1 });
});

it('an index is complete up to the version of its tenant, even if no subscription has that version', async () => {
  const id = await subscribe();
  await database.pool.query('DELETE FROM webhook_subscriptions WHERE id = $1', [id]);
  const index = (await new SubscriptionIndexes(10).get(database.pool, new Set([TENANT]))).get(TENANT);
  expect(index?.version).toBe(1);
});

/** Creates and deletes subscriptions with 100 event types and a filter of 1,000 bytes, which stay in the rows. */
async function createDeleted(count: number): Promise<void> {
  await database.pool.query(
    `INSERT INTO webhook_subscriptions (id, tenant, url, event_types, filter)
     SELECT gen_random_uuid(), $1, 'https://example.com/',
       ARRAY(SELECT 'type.' || n FROM generate_series(1, 100) n), jsonb_build_object('a', repeat('x', 1000))
     FROM generate_series(1, $2::integer)`,
    [TENANT, count],
  );
  await database.pool.query(
    `UPDATE webhook_subscriptions SET is_active = false, deleted_at = now() WHERE event_types <> '{*}' AND deleted_at IS NULL`,
  );
}

/** Reads the index of the tenant, and returns it with the number of read rows and of their characters as JSON. */
async function updateIndex(indexes: SubscriptionIndexes) {
  const read = { rows: 0, characters: 0 };
  const db = {
    query: async (...query: Parameters<Queryable['query']>) => {
      const result = await database.pool.query(...query);
      read.rows += result.rows.length;
      read.characters += JSON.stringify(result.rows).length;
      return result;
    },
  } as Queryable;
  const index = (await indexes.update(db, new Set([TENANT]))).get(TENANT);
  const matched = (await index?.match('type.1', () => ({})))?.subscriptions ?? [];
  return { ...read, version: index?.version, matched: matched.map(({ id }) => id) };
}

it('a new index reads no deleted subscription, and an existing one reads only what it must forget', async () => {
  const indexes = new SubscriptionIndexes(1_000);
  const kept = await subscribe();
  await createDeleted(50);
  expect(await updateIndex(indexes)).toMatchObject({ rows: 1, version: 101, matched: [kept] });
  await createDeleted(50);
  const { characters, ...update } = await updateIndex(indexes);
  expect(update).toEqual({ rows: 50, version: 201, matched: [kept] });
  expect(characters).toBeLessThan(50 * 250);
});

it('an index that is far behind reads the active subscriptions instead of the changes', async () => {
  const indexes = new SubscriptionIndexes(1_000);
  const [kept, gone] = [await subscribe(), await subscribe()];
  expect((await updateIndex(indexes)).matched.toSorted()).toEqual([kept, gone].toSorted());
  await database.prisma.webhookSubscription.update({ where: { id: gone }, data: { isActive: false } });
  await database.pool.query('UPDATE tenants SET version = version + 10000');
  await createDeleted(3);
  // The inactive one is read without its settings.
  expect(await updateIndex(indexes)).toMatchObject({ rows: 2, version: 10_009, matched: [kept] });
});

it('nothing is inserted after an event type was added or changed', async () => {
  const { event } = eventFor(await subscribe());
  const batch = { events: [event], deliveries: [] };
  await database.prisma.eventType.create({ data: { name: TYPE } });
  expect(await insertBatch(database.pool, { ...batch, known: knownTenant(1) })).toBeUndefined();
  const known = { tenants: new Map([[TENANT, 1]]), eventTypes: new Map([[TYPE, 1]]) };
  expect((await insertBatch(database.pool, { ...batch, known }))?.newIds).toEqual(new Set([event.id]));
});

it('without known versions, changes do not matter', async () => {
  const { event, delivery } = eventFor(await subscribe());
  const inserted = await insertBatch(database.pool, { events: [event], deliveries: [delivery], known: undefined });
  expect(inserted?.toPublish).toEqual(new Set([delivery.id]));
});

it('an event with a known id gets no deliveries, and other events of the batch do', async () => {
  const subscriptionId = await subscribe();
  const first = eventFor(subscriptionId, { eventId: 'same' });
  const again = eventFor(subscriptionId, { eventId: 'same' });
  const other = eventFor(subscriptionId);
  const insert = (...items: readonly (typeof first)[]) =>
    insertBatch(database.pool, {
      events: items.map(({ event }) => event),
      deliveries: items.map(({ delivery }) => delivery),
      known: knownTenant(1),
    });
  await insert(first);
  expect(await insert(again, other)).toEqual({
    newIds: new Set([other.event.id]),
    toPublish: new Set([other.delivery.id]),
  });
  expect(await counts()).toEqual({ events: 2, ids: 1, deliveries: 2 });
});

it('batches with the same ids in another order wait for each other, without a deadlock', async () => {
  const subscriptionId = await subscribe();
  const batchOf = (...eventIds: string[]) => ({
    events: eventIds.map((eventId) => eventFor(subscriptionId, { eventId }).event),
    deliveries: [],
    known: undefined,
  });
  const other = await database.pool.connect();
  await other.query('BEGIN');
  await insertBatch(other, batchOf('middle 1', 'middle 2'));
  // Each inserts its first id, and waits in the middle.
  const inserting = Promise.all([
    insertBatch(database.pool, batchOf('a', 'middle 1', 'z')),
    insertBatch(database.pool, batchOf('z', 'middle 2', 'a')),
  ]);
  const waiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
  await waitFor(async () => (await database.pool.query(waiting)).rowCount === 2, { what: 'both batches' });
  await other.query('ROLLBACK');
  other.release();
  const inserted = (await inserting).map((result) => result?.newIds.size);
  expect(inserted.toSorted()).toEqual([1, 3]);
  expect(await counts()).toMatchObject({ events: 4, ids: 4 });
});

it('of two events of a batch with the same id, the first is kept', async () => {
  const subscriptionId = await subscribe();
  for (let count = 0; count < 20; count += 1) {
    const events = [1, 2].map(() => eventFor(subscriptionId, { eventId: `twice ${count}` }).event);
    const result = await insertBatch(database.pool, { events, deliveries: [], known: undefined });
    expect(result?.newIds).toEqual(new Set([events[0]?.id]));
  }
});

it('a queued delivery starts the backlog of its subscription, and the next ones are queued behind it', async () => {
  const subscriptionId = await subscribe();
  const queued = eventFor(subscriptionId, { isQueued: true });
  const next = eventFor(subscriptionId);
  for (const { event, delivery } of [queued, next]) {
    const inserted = await insertBatch(database.pool, { events: [event], deliveries: [delivery], known: undefined });
    expect(inserted).toEqual({ newIds: new Set([event.id]), toPublish: new Set() });
  }
  const state = await database.prisma.subscriptionState.findUniqueOrThrow({ where: { subscriptionId } });
  expect(state).toMatchObject({ isBacklogged: true, nextSweepAt: expect.any(Date) as Date });
  expect(await database.prisma.delivery.count({ where: { enqueuedAt: null, waitingFor: 'IN_FLIGHT_LIMIT' } })).toBe(2);
});
