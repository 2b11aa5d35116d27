import pg from 'pg';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deliveryWhere } from '../../src/delivery-log/filter.ts';
import { parseStoredFilter, resolveFilter } from '../../src/delivery-log/filter-input.ts';
import type { Prisma, Replay } from '../../src/generated/prisma/client.ts';
import { uuid7, uuid7Time } from '../../src/lib/uuid7.ts';
import { type Database, type Queryable } from '../../src/postgres/client.ts';
import { postponeReplay, ReplayJob, replayBatch } from '../../src/replays/job.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';
import { waitFor } from '../support/wait-for.ts';

const TENANT = 'acme';
const DAY_MS = 86_400_000;

let opened: OpenTestDatabase;
let database: Database;
let subscriptionId: string;
let other: pg.Client;

beforeEach(async () => {
  opened = await openTestDatabase();
  ({ database } = opened);
  other = new pg.Client({ connectionString: opened.url });
  await other.connect();
  const data = { id: uuid7(Date.now()), tenant: TENANT, url: 'https://example.com/', eventTypes: ['*'] };
  subscriptionId = (await database.prisma.webhookSubscription.create({ data })).id;
});
afterEach(async () => {
  await other.end();
  await opened.close();
});

type Past = { readonly timeMs: number; readonly eventId?: string | undefined };

/** Inserts a successful delivery of that time. By default, its event no longer exists. */
async function addDelivery({ timeMs, eventId = uuid7(timeMs) }: Past): Promise<string> {
  const id = uuid7(timeMs);
  const createdAt = new Date(timeMs);
  await database.prisma.delivery.create({
    data: { id, tenant: TENANT, subscriptionId, eventId, eventType: 'a', status: 'SUCCESS', createdAt },
  });
  return id;
}

async function addEvent(timeMs: number): Promise<string> {
  const id = uuid7(timeMs);
  await other.query(
    `INSERT INTO events (id, tenant, event_id, type, occurred_at, data) VALUES ($1::uuid, 'acme', $1::uuid::text, 'a', now(), '{}')`,
    [id],
  );
  return id;
}

async function addReplay(data: Partial<Prisma.ReplayUncheckedCreateInput> = {}): Promise<string> {
  const createdAt = new Date();
  const id = uuid7(new Date(data.createdAt ?? createdAt).getTime());
  const replay = {
    id,
    tenant: TENANT,
    status: 'RUNNING' as const,
    filter: { tenant: TENANT },
    createdAt,
    ...data,
  };
  return (await database.prisma.replay.create({ data: { ratePerSecond: 1, deliveryCount: 1, ...replay } })).id;
}

const whereOf = async (filter: unknown, db: Queryable) =>
  deliveryWhere(await resolveFilter({ db, nowMs: Date.now(), takesDeliveries: true }, parseStoredFilter(filter)));

/** Makes the replay due and runs one batch. */
async function runBatch(id: string): Promise<Replay> {
  const nextBatchAt = new Date(Date.now() - 60_000);
  await database.prisma.replay.update({ where: { id }, data: { nextBatchAt } });
  const options = { whereOf, onClaim: () => undefined };
  expect(await database.prisma.$transaction((db) => replayBatch(db, options))).toBe(true);
  return database.prisma.replay.findUniqueOrThrow({ where: { id } });
}

const madeBy = (replayId: string) => database.prisma.delivery.findMany({ where: { replayId } });

describe('a batch', () => {
  it('skips up to 200 deliveries at any rate', async () => {
    for (let n = 0; n < 250; n += 1) await addDelivery({ timeMs: Date.now() - DAY_MS + n });
    const id = await addReplay();
    expect(await runBatch(id)).toMatchObject({ status: 'RUNNING', replayedCount: 0, skippedCount: 200 });
    expect(await runBatch(id)).toMatchObject({ status: 'COMPLETED', replayedCount: 0, skippedCount: 250 });
  });

  it('creates no more deliveries than its rate allows, and the next batch continues after them', async () => {
    const timeMs = Date.now() - DAY_MS;
    const [first, second] = [await addEvent(timeMs), await addEvent(timeMs)];
    const events = [undefined, first, first, undefined, first, second, first];
    const ids: string[] = [];
    for (const [n, eventId] of events.entries()) ids.push(await addDelivery({ timeMs: timeMs + n, eventId }));
    const id = await addReplay();
    const afterFirst = { status: 'RUNNING', replayedCount: 1, skippedCount: 1, afterId: ids[1] };
    expect(await runBatch(id)).toMatchObject(afterFirst);
    expect(await runBatch(id)).toMatchObject({ status: 'RUNNING', replayedCount: 2, skippedCount: 4, afterId: ids[5] });
    expect(await runBatch(id)).toMatchObject({
      status: 'COMPLETED',
      replayedCount: 2,
      skippedCount: 5,
      skippedWithoutEventCount: 2,
      skippedInactiveCount: 0,
    });
    expect((await madeBy(id)).map(({ eventId }) => eventId).sort()).toEqual([first, second].sort());
  });

  it('creates one delivery for several of an event to a subscription', async () => {
    const timeMs = Date.now() - DAY_MS;
    const eventId = await addEvent(timeMs);
    for (let n = 0; n < 3; n += 1) await addDelivery({ timeMs: timeMs + n, eventId });
    const id = await addReplay({ ratePerSecond: 1_000 });
    expect(await runBatch(id)).toMatchObject({ status: 'COMPLETED', replayedCount: 1, skippedCount: 2 });
    // Another replay creates a delivery again.
    const again = await addReplay({ ratePerSecond: 1_000 });
    expect(await runBatch(again)).toMatchObject({ status: 'COMPLETED', replayedCount: 1, skippedCount: 3 });
  });

  it('gives its deliveries ids of the current time, even days after the start of the replay', async () => {
    const startMs = Date.now() - 10 * DAY_MS;
    const eventId = await addEvent(startMs - 1_000);
    await addDelivery({ timeMs: startMs - 1_000, eventId });
    const id = await addReplay({ createdAt: new Date(startMs) });
    const before = Date.now();
    await runBatch(id);
    const [made] = await madeBy(id);
    expect(uuid7Time(made?.id ?? '')).toBeGreaterThanOrEqual(before - 1_000);
    const where = deliveryWhere({ tenant: TENANT, from: new Date(before - 60_000) });
    expect(await database.prisma.delivery.count({ where })).toBe(1);
  });

  it('reads fewer deliveries after a failure, until a batch succeeds', async () => {
    for (let n = 0; n < 3; n += 1) await addDelivery({ timeMs: Date.now() - DAY_MS + n });
    const id = await addReplay({ failureCount: 3 });
    expect(await runBatch(id)).toMatchObject({ status: 'RUNNING', skippedCount: 1, failureCount: 0 });
    expect(await runBatch(id)).toMatchObject({ status: 'COMPLETED', skippedCount: 3 });
  });
});

describe('a replay that cannot find its deliveries in time', () => {
  it('is postponed, and others continue', async () => {
    const earlier = new Date(Date.now() - 3_600_000);
    const filter = { tenant: TENANT, failureReasons: ['TIMEOUT'] };
    const slow = await addReplay({ filter, nextBatchAt: earlier });
    const quick = await addReplay();
    await other.query('BEGIN; LOCK TABLE attempts IN ACCESS EXCLUSIVE MODE');
    const log = pino({ level: 'silent' });
    const job = new ReplayJob({ database, log, whereOf });
    const read = (id: string) => database.prisma.replay.findUniqueOrThrow({ where: { id } });
    job.start();
    try {
      const isDone = async () => (await read(quick)).status === 'COMPLETED';
      await waitFor(isDone, { what: 'the other replay' });
      expect(await read(slow)).toMatchObject({ status: 'RUNNING', failureCount: 1 });
    } finally {
      await other.query('ROLLBACK');
      await job.stop();
    }
  });

  it('is retried at growing intervals, up to five minutes', async () => {
    const id = await addReplay();
    const waits: number[] = [];
    for (let failure = 0; failure < 7; failure += 1) {
      await postponeReplay(database.pool, id);
      const { rows } = await database.pool.query<{ seconds: number }>(
        'SELECT ceil(extract(epoch FROM next_batch_at - now()) - 0.1)::integer AS seconds FROM replays WHERE id = $1',
        [id],
      );
      waits.push(rows[0]?.seconds ?? 0);
    }
    expect(waits).toEqual([10, 20, 40, 80, 160, 300, 300]);
  });
});
