import { afterAll, beforeAll, expect, it } from 'vitest';
import { cancelPending } from '../../src/delivery/queue/cancel.ts';
import { reserveSendTimes } from '../../src/delivery/queue/send-times.ts';
import { lockDueDeliveries, lockDueQueues, saveQueues } from '../../src/delivery/queue/state.ts';
import {
  delayPublished,
  extendLeases,
  leaseDeliveries,
  markPublished,
  requeueAtLimit,
  requeueDeliveries,
  requeueLater,
  requeueLost,
  unattemptedDeliveries,
} from '../../src/delivery/queue/store.ts';
import { writeResults } from '../../src/delivery/sending/write-results.ts';
import { insertBatch } from '../../src/events/insert-batch.ts';
import { SubscriptionIndexes } from '../../src/events/matching/subscription-index.ts';
import { insertRejectedEvents, knownEvents, readDataOfDeliveries } from '../../src/events/store.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { type Database, type Queryable, transaction } from '../../src/postgres/client.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';
import { attemptOf, seedDelivery } from '../support/graphql-api.ts';

let opened: OpenTestDatabase;
let database: Database;
beforeAll(async () => {
  // One connection for deliveries, and one for Prisma.
  opened = await openTestDatabase({ poolSize: 2 });
  database = opened.database;
});
afterAll(async () => {
  await opened.close();
});

const TENANT = 'acme';
const ROUNDS = 7;
/** Tables that grow without limit: a statement that scans one takes longer every day. */
const LARGE = /^(?:deliveries|events|attempts|event_ids|webhook_subscriptions|subscription_states)/;

/** Every statement that a delivery needs: dispatching, sending, queueing and releasing. */
async function deliverOne(subscriptionId: string): Promise<void> {
  const { pool: db } = database;
  const id = uuid7(Date.now());
  const event = {
    id,
    tenant: TENANT,
    eventId: `given-${id}`,
    type: 'a.b',
    occurredAt: new Date(),
    data: Buffer.from('{}'),
  };
  const delivery = { id: uuid7(Date.now()), tenant: TENANT, subscriptionId, eventRowId: id, eventType: 'a.b' };
  const batch = { events: [event], deliveries: [{ ...delivery, isQueued: true }] };
  // Empty indexes, for tenants of which one has no subscriptions.
  await new SubscriptionIndexes(100).get(db, new Set([TENANT, 'other']));
  await insertBatch(db, { ...batch, known: { tenants: new Map([[TENANT, 1]]), eventTypes: new Map([['a.b', 0]]) } });
  await knownEvents(db, [event]);
  await unattemptedDeliveries(db, { eventRowIds: [id], maxDataBytes: 1_000 });
  const rejection = { id: uuid7(Date.now()), tenant: TENANT, subject: 'events', reason: 'INVALID_JSON' };
  await insertRejectedEvents(db, [{ ...rejection, message: 'no JSON', sizeBytes: 1 }]);
  await lockDueQueues(db, 10);
  await lockDueDeliveries(db, [{ subscriptionId, count: 10 }]);
  await markPublished(db, { ids: [delivery.id], maxDataBytes: 1_000 });
  const change = { subscriptionId, recheckMs: 100, mustRecheck: false, publishWindow: null, nextSendInMs: null };
  await saveQueues(db, [{ ...change, nextProbe: null }]);
  const limited = { deliveryId: delivery.id, enqueueCount: 1, reason: 'IN_FLIGHT_LIMIT' as const };
  await delayPublished(db, { deliveries: [limited], waitMs: 0 });
  await requeueAtLimit(db, [limited]);
  await markPublished(db, { ids: [delivery.id], maxDataBytes: 1_000 });
  await leaseDeliveries(db, [{ deliveryId: delivery.id, enqueueCount: 2, leaseMs: 1_000 }]);
  await extendLeases(db, { attempts: [{ deliveryId: delivery.id, number: 1 }], leaseMs: 1_000 });
  await readDataOfDeliveries(db, [delivery.id]);
  await reserveSendTimes(db, { requests: [{ subscriptionId, count: 1 }], horizonMs: 1_000 });
  await requeueDeliveries(db, [delivery.id]);
  await requeueLater(db, { deliveryIds: [delivery.id], waitMs: 1_000 });
  await requeueLost(db, { oldest: new Date(), slackMs: 60_000, limit: 10 });
  await cancelPending(db, { subscriptionId, limit: 10 });
  const seeded = await seedDelivery(database, { subscriptionId, tenant: TENANT });
  const attempt = { ...attemptOf(seeded), id: uuid7(Date.now()) };
  const result = { attempt, status: 'SUCCESS', nextAttemptInMs: null, waitingFor: null, staysEnqueued: false } as const;
  await writeResults(db, [result]);
}

/** Rows of a batch, and rows between two of them. */
const BATCH = 10;
const BETWEEN = 200;
/** Rows that a statement may read per row of its batch: the row, event, subscription and their states, some twice. */
const MAX_READ = 6;

/** Inserts published deliveries, in the order of their ids. */
async function insertPublished(subscriptionId: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, index) => uuid7(Date.now() - count + index));
  const event = { tenant: TENANT, type: 'a.b', occurredAt: new Date(), data: Buffer.from('{}') };
  const delivery = { tenant: TENANT, subscriptionId, eventType: 'a.b' };
  await insertBatch(database.pool, {
    events: ids.map((id) => ({ ...event, id, eventId: `given-${id}` })),
    deliveries: ids.map((id) => ({ ...delivery, id, eventRowId: id })),
    known: undefined,
  });
  return ids;
}

/** Number of rows of large tables that the work reads. */
async function countRowsRead(work: (db: Queryable) => Promise<unknown>): Promise<number> {
  return transaction(database.pool, async (db) => {
    const before = await rowsRead(db);
    await work(db);
    return (await rowsRead(db)) - before;
  });
}

/** Number of rows of large tables that this session has read since Postgres last flushed its statistics. */
async function rowsRead(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ name: string; count: number }>(
    `SELECT relname AS name, (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::integer AS count
     FROM pg_stat_xact_user_tables`,
  );
  return rows.filter(({ name }) => LARGE.test(name)).reduce((sum, { count }) => sum + count, 0);
}

type Prepared = { readonly statement: string; readonly generic: number; readonly custom: number };

it('each statement of a delivery is planned once for a connection, and its plan scans no large table', async () => {
  const data = { id: uuid7(Date.now()), tenant: TENANT, url: 'https://example.com/', eventTypes: ['*'] };
  const { id } = await database.prisma.webhookSubscription.create({ data });
  for (let round = 0; round < ROUNDS; round += 1) await deliverOne(id);
  const { rows } = await database.pool.query<Prepared>(
    `SELECT statement, generic_plans::integer AS generic, custom_plans::integer AS custom FROM pg_prepared_statements`,
  );
  expect(rows.filter(({ generic }) => generic >= ROUNDS).length).toBeGreaterThanOrEqual(18);
  expect(rows.filter(({ custom }) => custom > 0)).toEqual([]);
  for (const { statement } of rows) {
    const { rows: plans } = await database.pool.query<{ 'QUERY PLAN': string }>(`EXPLAIN (GENERIC_PLAN) ${statement}`);
    const scans = plans.flatMap((row) => /Seq Scan on (\S+)/.exec(row['QUERY PLAN'])?.[1] ?? []);
    expect({ statement, scans: scans.filter((table) => LARGE.test(table)) }).toEqual({ statement, scans: [] });
  }
});

it('a statement reads the rows of its batch, and none of those between them', async () => {
  const data = { id: uuid7(Date.now()), tenant: TENANT, url: 'https://example.com/', eventTypes: ['*'] };
  const { id: subscriptionId } = await database.prisma.webhookSubscription.create({ data });
  const all = await insertPublished(subscriptionId, BATCH * BETWEEN);
  const ids = all.filter((_, index) => index % BETWEEN === 0);
  const seeded = await seedDelivery(database, { subscriptionId, tenant: TENANT });
  const results = ids.map((deliveryId) => ({
    attempt: { ...attemptOf(seeded), id: uuid7(Date.now()), deliveryId },
    ...({ status: 'SUCCESS', nextAttemptInMs: null, waitingFor: null, staysEnqueued: false } as const),
  }));
  const events = ids.map((id) => ({ id, tenant: TENANT, eventId: `given-${id}` }));
  const limited = ids.map((deliveryId) => ({ deliveryId, enqueueCount: 1, reason: 'IN_FLIGHT_LIMIT' as const }));
  const statements: Record<string, (db: Queryable) => Promise<unknown>> = {
    knownEvents: (db) => knownEvents(db, events),
    readDataOfDeliveries: (db) => readDataOfDeliveries(db, ids),
    unattemptedDeliveries: (db) => unattemptedDeliveries(db, { eventRowIds: ids, maxDataBytes: 1_000 }),
    leaseDeliveries: (db) =>
      leaseDeliveries(
        db,
        ids.map((deliveryId) => ({ deliveryId, enqueueCount: 1, leaseMs: 1 })),
      ),
    extendLeases: (db) =>
      extendLeases(db, { attempts: ids.map((deliveryId) => ({ deliveryId, number: 1 })), leaseMs: 1 }),
    delayPublished: (db) => delayPublished(db, { deliveries: limited, waitMs: 0 }),
    requeueAtLimit: (db) => requeueAtLimit(db, limited),
    markPublished: (db) => markPublished(db, { ids, maxDataBytes: 1_000 }),
    requeueDeliveries: (db) => requeueDeliveries(db, ids),
    requeueLater: (db) => requeueLater(db, { deliveryIds: ids, waitMs: 1_000 }),
    writeResults: (db) => writeResults(db, results),
  };
  const read: (readonly [string, number])[] = [];
  for (const [name, run] of Object.entries(statements)) read.push([name, await countRowsRead(run)]);
  expect(read.filter(([, rows]) => rows === 0 || rows > MAX_READ * BATCH)).toEqual([]);
});
