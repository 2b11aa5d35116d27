import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { NewDelivery } from '../../src/delivery/queue/store.ts';
import { insertBatch } from '../../src/events/insert-batch.ts';
import { SubscriptionIndexes } from '../../src/events/matching/subscription-index.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import type { Database } from '../../src/postgres/client.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

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
