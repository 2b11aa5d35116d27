import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type NewNotice, recordNotice, recordOmittedNotice } from '../../src/delivery/circuit/notices.ts';
import { openCircuit, recentAttempts } from '../../src/delivery/circuit/store.ts';
import { cancelPending } from '../../src/delivery/queue/cancel.ts';
import { closeCircuit } from '../../src/delivery/queue/state.ts';
import { delayPublished, leaseDeliveries, lockDelivery, requeueDeliveries } from '../../src/delivery/queue/store.ts';
import { type Result, writeResults } from '../../src/delivery/sending/write-results.ts';
import type { Delivery } from '../../src/generated/prisma/client.ts';
import { uuid7, uuid7Floor } from '../../src/lib/uuid7.ts';
import { type Database, transaction } from '../../src/postgres/client.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';
import { attemptOf, seedDelivery } from '../support/graphql-api.ts';
import { countWaiting } from '../support/table-lock.ts';
import { waitFor } from '../support/wait-for.ts';

let opened: OpenTestDatabase;
let database: Database;
let other: pg.Client;
beforeAll(async () => {
  opened = await openTestDatabase();
  ({ database } = opened);
  other = new pg.Client({ connectionString: opened.url });
  await other.connect();
});
afterAll(async () => {
  await other.end();
  await opened.close();
});

const TENANT = 'acme';

async function subscribe(eventTypes = ['*']): Promise<string> {
  const data = { id: uuid7(Date.now()), tenant: TENANT, url: 'https://example.com/', eventTypes };
  return (await database.prisma.webhookSubscription.create({ data })).id;
}

const stateOf = (subscriptionId: string) =>
  database.prisma.subscriptionState.findUniqueOrThrow({ where: { subscriptionId } });

const ago = (seconds: number) => new Date(Date.now() - seconds * 1_000);

type Made = { readonly status: 'SUCCESS' | 'FAILURE'; readonly startedAt: Date };

/** Returns the result of an attempt of a new delivery. */
async function resultOf(subscriptionId: string, { status, startedAt }: Made): Promise<Result> {
  const delivery = await seedDelivery(database, { subscriptionId, tenant: TENANT });
  return resultOn(delivery, { status, startedAt });
}

function resultOn(delivery: Delivery, { status, startedAt }: Made): Result {
  const attempt = { ...attemptOf(delivery, { status, startedAt }), id: uuid7(Date.now()) };
  const isRetried = status === 'FAILURE';
  return {
    attempt,
    status: isRetried ? 'PENDING' : 'SUCCESS',
    waitingFor: isRetried ? 'BACKOFF' : null,
    nextAttemptInMs: isRetried ? 3_600_000 : null,
    staysEnqueued: false,
  };
}

async function write(subscriptionId: string, ...made: readonly Made[]): Promise<string[]> {
  const results = [];
  for (const one of made) results.push(await resultOf(subscriptionId, one));
  return writeResults(database.pool, results);
}

it('a delivery that is requeued while another process has its lease is swept when the lease ends, and at once if NATS refused it', async () => {
  for (const wereRefused of [false, true]) {
    const subscriptionId = await subscribe();
    const { id, enqueueCount, nextAttemptAt } = await seedDelivery(database, { subscriptionId, tenant: TENANT });
    await leaseDeliveries(database.pool, [{ deliveryId: id, enqueueCount, leaseMs: 40_000 }]);
    await requeueDeliveries(database.pool, [id], { wereRefused });
    const { leasedUntil } = await database.prisma.delivery.findUniqueOrThrow({ where: { id } });
    expect(leasedUntil?.getTime()).toBeGreaterThan(Date.now());
    expect((await stateOf(subscriptionId)).nextSweepAt).toEqual(wereRefused ? nextAttemptAt : leasedUntil);
  }
});

it('a limit delays a published delivery, which counts as in flight, and never one that waits for a retry', async () => {
  const delivery = await seedDelivery(database, { subscriptionId: await subscribe(), tenant: TENANT });
  const { id, enqueueCount } = delivery;
  const limited = { deliveryId: id, enqueueCount, reason: 'IN_FLIGHT_LIMIT' as const };
  const delay = async () => [...(await delayPublished(database.pool, { deliveries: [limited], waitMs: 5_000 }))];
  const isInFlight = async () => (await lockDelivery(database.pool, { id, tenant: TENANT }))?.isInFlight;
  expect([await delay(), await isInFlight()]).toEqual([[id], true]);
  const failed = resultOn(delivery, { status: 'FAILURE', startedAt: new Date() });
  await writeResults(database.pool, [failed]);
  const { nextAttemptAt } = await database.prisma.delivery.findUniqueOrThrow({ where: { id } });
  expect([await delay(), await isInFlight()]).toEqual([[], false]);
  expect(await database.prisma.delivery.findUnique({ where: { id } })).toMatchObject({
    nextAttemptAt,
    waitingFor: 'BACKOFF',
  });
});

describe('the failing-since time of a subscription', () => {
  it('is the start of the first failed attempt, until one succeeds', async () => {
    const id = await subscribe();
    const first = ago(20);
    await write(id, { status: 'FAILURE', startedAt: ago(10) }, { status: 'FAILURE', startedAt: first });
    const { failingSince } = await stateOf(id);
    expect(failingSince).toEqual(first);
    await write(id, { status: 'FAILURE', startedAt: ago(5) });
    expect((await stateOf(id)).failingSince).toEqual(failingSince);
    expect(await write(id, { status: 'SUCCESS', startedAt: ago(1) }, { status: 'FAILURE', startedAt: ago(1) })).toEqual(
      [],
    );
    expect((await stateOf(id)).failingSince).toBeNull();
  });

  it('is not changed by attempts that started before it was reset', async () => {
    const id = await subscribe();
    await closeCircuit(database.pool, id);
    const { closedAt } = await stateOf(id);
    await write(id, { status: 'FAILURE', startedAt: ago(5) });
    expect((await stateOf(id)).failingSince).toBeNull();
    await write(id, { status: 'FAILURE', startedAt: ago(5) }, { status: 'FAILURE', startedAt: ago(-1) });
    expect((await stateOf(id)).failingSince).toEqual(closedAt);
  });

  it('is reset with an open circuit only when the circuit closes', async () => {
    const id = await subscribe();
    await openCircuit(database.pool, { subscriptionId: id, probeInMs: 30_000, failingSince: ago(60) });
    const { failingSince } = await stateOf(id);
    expect(await write(id, { status: 'SUCCESS', startedAt: ago(5) })).toEqual([]);
    expect(await write(id, { status: 'FAILURE', startedAt: ago(-1) })).toEqual([]);
    expect(await write(id, { status: 'SUCCESS', startedAt: ago(-1) })).toEqual([id]);
    expect((await stateOf(id)).failingSince).toEqual(failingSince);
    await closeCircuit(database.pool, id);
    expect((await stateOf(id)).failingSince).toBeNull();
  });
});

it('attempts that started before a reset do not count, even if they are recorded after it', async () => {
  const id = await subscribe();
  const since = ago(1);
  const failures = Array.from({ length: 5 }, () => ({ status: 'FAILURE' as const, startedAt: ago(2) }));
  await write(id, ...failures, { status: 'FAILURE', startedAt: ago(0) });
  const sinceId = uuid7Floor(since.getTime());
  const query = { subscriptionId: id, since, sinceId, maxInARow: 20, recentSinceId: sinceId, maxRecent: 1_000 };
  expect(await recentAttempts(database.pool, query)).toEqual({
    failuresInARow: 1,
    recent: { attempts: 1, failures: 1 },
  });
});

describe('while another transaction holds a delivery', () => {
  it('its result waits before it locks the state, which the other transaction locks next', async () => {
    const id = await subscribe();
    const delivery = await seedDelivery(database, { subscriptionId: id, tenant: TENANT });
    await other.query('BEGIN');
    await other.query('SELECT FROM deliveries WHERE id = $1 FOR UPDATE', [delivery.id]);
    const written = writeResults(database.pool, [resultOn(delivery, { status: 'FAILURE', startedAt: ago(1) })]);
    await isWaiting();
    await other.query('SELECT FROM subscription_states WHERE subscription_id = $1 FOR UPDATE NOWAIT', [id]);
    await other.query('COMMIT');
    await written;
    expect((await stateOf(id)).failingSince).not.toBeNull();
  });

  it('cancelling skips that delivery, and reports that some remain', async () => {
    const id = await subscribe();
    const [held, enqueued, waiting] = [
      await seedDelivery(database, { subscriptionId: id, tenant: TENANT }),
      await seedDelivery(database, { subscriptionId: id, tenant: TENANT }),
      await seedDelivery(database, { subscriptionId: id, tenant: TENANT }),
    ];
    await database.prisma.delivery.update({ where: { id: waiting.id }, data: { enqueuedAt: null } });
    await other.query('BEGIN');
    await other.query('SELECT FROM deliveries WHERE id = $1 FOR UPDATE', [held.id]);
    expect(await cancelPending(database.pool, { subscriptionId: id, limit: 10 })).toBe(true);
    await other.query('COMMIT');
    const statusOf = async ({ id: where }: Delivery) =>
      (await database.prisma.delivery.findUniqueOrThrow({ where: { id: where } })).status;
    expect(await Promise.all([held, enqueued, waiting].map(statusOf))).toEqual(['PENDING', 'CANCELLED', 'CANCELLED']);
    expect(await cancelPending(database.pool, { subscriptionId: id, limit: 1 })).toBe(false);
    expect(await statusOf(held)).toBe('CANCELLED');
  });
});

describe('an event about a subscription', () => {
  const NOTICES = ['webhook_subscription.*'];
  const eventOf = (subscriptionId: string, data: Record<string, unknown> = {}): NewNotice => ({
    tenant: TENANT,
    subscriptionId,
    url: 'https://user.example.com:8443/secret?key=secret',
    data,
    type: 'webhook_subscription.recovered',
  });
  const record = (event: NewNotice) => transaction(database.pool, (db) => recordNotice(db, event));
  const dataOf = async (where: string): Promise<Record<string, unknown>[]> => {
    const { rows } = await database.pool.query<{ data: Buffer }>(`SELECT data FROM events WHERE ${where} ORDER BY id`);
    return rows.map(({ data }) => JSON.parse(data.toString()) as Record<string, unknown>);
  };
  beforeEach(async () => {
    await database.pool.query('DELETE FROM notice_limits');
  });

  it('waits for no state of its receiving subscriptions, which may record events themselves', async () => {
    const [one, another] = [await subscribe(), await subscribe(NOTICES)];
    await other.query('BEGIN');
    await other.query('SELECT FROM subscription_states WHERE subscription_id = $1 FOR UPDATE', [another]);
    const messages = await record(eventOf(one));
    await other.query('COMMIT');
    expect(messages.map(({ subscriptionId }) => subscriptionId)).toContain(another);
  });

  it('goes only to those that name its type, and whose circuit is closed', async () => {
    const about = await subscribe(NOTICES);
    const [all, prefix, exact] = [
      await subscribe(['*']),
      await subscribe(NOTICES),
      await subscribe(['webhook_subscription.recovered']),
    ];
    const [open, sibling] = [await subscribe(NOTICES), await subscribe(['webhook_subscription.failing'])];
    await database.pool.query('UPDATE subscription_states SET opened_at = now() WHERE subscription_id = $1', [open]);
    const ids = (await record(eventOf(about))).map(({ subscriptionId }) => subscriptionId);
    expect(ids).toEqual(expect.arrayContaining([prefix, exact]));
    for (const id of [about, all, open, sibling]) expect(ids).not.toContain(id);
  });

  it('contains the host of the URL and nothing else of it', async () => {
    const about = await subscribe();
    await record(eventOf(about));
    const [data] = await dataOf(`convert_from(data, 'UTF8') LIKE '%${about}%'`);
    expect(data).toEqual({ subscriptionId: about, host: 'user.example.com:8443' });
  });

  it('is limited to ten a minute; the latest further one is recorded after the minute with the number of omitted ones', async () => {
    const watcher = await subscribe(NOTICES);
    const about = await subscribe();
    const results = [];
    for (let number = 1; number <= 15; number += 1) results.push(await record(eventOf(about, { number })));
    expect(results.map(({ length }) => length > 0)).toEqual([
      ...Array.from({ length: 10 }, () => true),
      ...Array.from({ length: 5 }, () => false),
    ]);
    // Notices of another type are counted separately.
    expect(await record({ ...eventOf(about), type: 'webhook_subscription.failing' })).not.toEqual([]);
    const take = () => transaction(database.pool, recordOmittedNotice);
    expect(await take()).toBeUndefined();
    await database.pool.query(`UPDATE notice_limits SET minute_from = minute_from - interval '1 minute'`);
    expect((await take())?.map(({ subscriptionId }) => subscriptionId)).toContain(watcher);
    const told = await dataOf(`convert_from(data, 'UTF8') LIKE '%${about}%"number"%'`);
    expect(told.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15]);
    expect(told.at(-1)).toEqual({ subscriptionId: about, host: 'user.example.com:8443', number: 15, omittedCount: 4 });
    expect(await take()).toBeUndefined();
    expect(await record(eventOf(about))).not.toEqual([]);
  });
});

/** Waits until a transaction waits for a lock. */
async function isWaiting(): Promise<void> {
  await waitFor(async () => (await countWaiting(database.pool)) === 1, { what: 'a statement that waits for a lock' });
}
