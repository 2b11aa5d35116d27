import pg from 'pg';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { withConnection } from '../../src/postgres/connection.ts';
import { isTimeout } from '../../src/postgres/errors.ts';
import { deleteExpiredRows } from '../../src/retention/expired-rows.ts';
import { RetentionJob } from '../../src/retention/job.ts';
import { createPartitions } from '../../src/retention/partitions.ts';
import { LOWEST_ID, trimSubscriptions } from '../../src/retention/trim.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { startReceiver } from '../support/receiver.ts';
import {
  createRetentionDatabase,
  DAY_MS,
  type DeliveryIds,
  dropPartitionsOnce,
  dropUnusedPartitions,
  type RetentionDatabase,
} from '../support/retention-database.ts';
import { startTestApp, startTestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

function onCleanUp<T extends { stop(): Promise<void> }>(part: T): T {
  cleanUps.push(() => part.stop());
  return part;
}

async function openDatabase(): Promise<RetentionDatabase> {
  const database = await createRetentionDatabase();
  cleanUps.push(() => database.drop());
  return database;
}

const NOW = Date.now();
const RETENTION = { nowMs: NOW, retentionDays: 30 };
const OLD = NOW - 40 * DAY_MS;
const ALL = ['attempt', 'delivery', 'event', 'event id'];

const deadline = () => ({ signal: new AbortController().signal, deadlineMs: performance.now() + 60_000 });
const create = ({ url }: RetentionDatabase) => withConnection(url, (client) => createPartitions(client, RETENTION));
const dropOnce = ({ url }: RetentionDatabase) => dropPartitionsOnce(url, RETENTION);
const dropOld = ({ url }: RetentionDatabase) => dropUnusedPartitions(url, RETENTION);
const deleteRows = ({ url }: RetentionDatabase) =>
  withConnection(url, (client) => deleteExpiredRows(client, { ...RETENTION, deadline: deadline() }));

/** Creates the job of another process, and returns it with its log lines. */
function createJob({ url }: RetentionDatabase, maxPerSubscription?: number): { job: RetentionJob; lines: string[] } {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
  return {
    job: onCleanUp(
      new RetentionJob({
        databaseUrl: url,
        log,
        retentionDays: 30,
        maxPerSubscription,
        auditLogDays: 365,
        firstInMs: 0,
      }),
    ),
    lines,
  };
}

/** Waits until the rows are deleted. A round that found the tables in use is repeated after 20 s. */
async function isGone(database: RetentionDatabase, ids: DeliveryIds): Promise<void> {
  const what = 'the old rows to be gone';
  await waitFor(async () => (await database.remaining(ids)).length === 0, { what });
}

async function insertSubscription({ pool }: RetentionDatabase, id: string): Promise<void> {
  await pool.query(
    `INSERT INTO webhook_subscriptions (id, tenant, url, event_types) VALUES ($1, 'acme', 'https://example.com', '{}')`,
    [id],
  );
}

async function dropAllPartitions({ pool, partitions }: RetentionDatabase): Promise<void> {
  for (const name of await partitions()) await pool.query(`DROP TABLE ${name}`);
}

describe('a program', () => {
  it('has created partitions when it is ready, and new rows are in them', async () => {
    const services = onCleanUp(await startTestServices());
    const made = `SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE c.relkind = 'r' AND c.relname NOT LIKE '%default'`;
    for (const { name } of await services.query<{ name: string }>(made)) await services.query(`DROP TABLE ${name}`);
    // Without the retention job, which would also create partitions.
    await (await startTestApp(services, { env: { ROLES: 'api' } })).stop();
    expect((await services.query(made)).length).toBeGreaterThanOrEqual(9);
    const app = onCleanUp(await startTestApp(services));
    const receiver = await startReceiver();
    cleanUps.push(() => receiver.close());
    await app.subscribe({ url: receiver.url });
    await services.publish('events.acme.a', '{}');
    await receiver.waitForRequests(1);
    await waitFor(async () => (await services.query('SELECT FROM attempts')).length === 1, { what: 'the attempt' });
    for (const table of ['events', 'deliveries', 'attempts']) {
      const rows = await services.query<{ name: string }>(`SELECT tableoid::regclass::text AS name FROM ${table}`);
      expect(rows.map(({ name }) => name)).toEqual([expect.stringMatching(/_\d{8}$/)]);
    }
  });

  it('drops expired partitions, and answers queries about the remaining rows', async () => {
    const services = onCleanUp(await startTestServices());
    const app = onCleanUp(await startTestApp(services, { env: { ROLES: 'api' } }));
    const { id: subscriptionId } = await app.subscribe({ url: 'http://127.0.0.1:4' });
    const database: RetentionDatabase = await createRetentionDatabase(services.databaseUrl);
    cleanUps.push(() => database.drop());
    await database.createPartitions(OLD);
    const old = await database.insert({ timeMs: OLD, status: 'SUCCESS', subscriptionId });
    const recent = await database.insert({ timeMs: NOW, status: 'SUCCESS', subscriptionId });
    // A delivery whose last attempt was made long after its creation, and so expires later.
    await database.pool.query('UPDATE attempts SET delivery_id = $1 WHERE id = $2', [old.delivery, recent.attempt]);
    onCleanUp(await startTestApp(services, { limits: { firstRetentionInMs: 0 } }));
    await isGone(database, old);
    expect(await database.remaining(recent)).toEqual(ALL);
    const query = `query ($old: ID!, $recent: ID!) {
      old: event(id: $old) { id } recent: event(id: $recent) { id deliveries { edges { node { id } } } }
      deliveries { edges { node { id event { id } } } }
      deliveryLog { edges { node { id delivery { id } } } }
    }`;
    expect(await app.graphql(query, { old: `ev-${old.event}`, recent: `ev-${recent.event}` })).toEqual({
      old: null,
      recent: { id: `ev-${recent.event}`, deliveries: { edges: [{ node: { id: recent.delivery } }] } },
      deliveries: { edges: [{ node: { id: recent.delivery, event: { id: `ev-${recent.event}` } } }] },
      deliveryLog: { edges: [{ node: { id: recent.attempt, delivery: null } }] },
    });
  }, 80_000);
});

describe('an old partition', () => {
  it('is dropped as a whole, with the ids of its events', async () => {
    const database = await openDatabase();
    await database.createPartitions(OLD);
    const before = await database.partitions();
    const ids = [];
    for (const status of ['SUCCESS', 'FAILURE', 'CANCELLED'] as const) {
      ids.push(await database.insert({ timeMs: OLD, status }));
    }
    const recent = await database.insert({ timeMs: NOW - 3 * DAY_MS, status: 'SUCCESS' });
    const { dropped } = await dropOld(database);
    const left = await database.partitions();
    expect([...dropped, ...left].toSorted()).toEqual(before);
    expect(dropped.length).toBeGreaterThanOrEqual(9);
    await deleteRows(database);
    for (const old of ids) expect(await database.remaining(old)).toEqual([]);
    expect(await database.remaining(recent)).toEqual(ALL);
  });

  it('with a pending delivery is kept with its event until the delivery has ended', async () => {
    const database = await openDatabase();
    await database.createPartitions(OLD);
    const pending = await database.insert({ timeMs: OLD, status: 'PENDING' });
    const ended = await database.insert({ timeMs: OLD, status: 'SUCCESS' });
    const { kept } = await dropOld(database);
    expect(kept.map((name) => name.replace(/_\d+$/, '')).toSorted()).toEqual(['deliveries', 'events']);
    await deleteRows(database);
    const withoutLog = ALL.filter((name) => name !== 'attempt');
    expect(await database.remaining(pending)).toEqual(withoutLog);
    expect(await database.remaining(ended)).toEqual(withoutLog);
    await database.pool.query(`UPDATE deliveries SET status = 'SUCCESS' WHERE id = $1`, [pending.delivery]);
    expect((await dropOld(database)).kept).toEqual([]);
    await deleteRows(database);
    expect(await database.remaining(pending)).toEqual([]);
  });

  it('is kept while a newer delivery of one of its events is pending', async () => {
    const database = await openDatabase();
    await database.createPartitions(OLD);
    const old = await database.insert({ timeMs: OLD, status: 'SUCCESS' });
    const again = await database.insert({ timeMs: NOW, status: 'PENDING' });
    await database.pool.query('UPDATE deliveries SET event_id = $1, enqueued_at = now() WHERE id = $2', [
      old.event,
      again.delivery,
    ]);
    expect((await dropOld(database)).kept).toHaveLength(2);
    expect(await database.remaining(old)).toContain('event');
  });

  it('is kept during a long read, and writers are delayed only briefly', async () => {
    const database = await openDatabase();
    await database.createPartitions(OLD);
    const old = await database.insert({ timeMs: OLD, status: 'SUCCESS' });
    const reader = new pg.Client({ connectionString: database.url });
    cleanUps.push(() => reader.end());
    await reader.connect();
    await reader.query('BEGIN');
    // A row of another partition: the old one is not locked, but the lock that the job waits for blocks all queries.
    await reader.query('SELECT count(*) FROM deliveries WHERE id > $1', [uuid7(NOW)]);
    let longestMs = 0;
    const dropping = dropOnce(database);
    const over = new AbortController();
    void dropping.finally(() => {
      over.abort();
    });
    for (;;) {
      const startedAt = performance.now();
      await database.insert({ timeMs: NOW, status: 'SUCCESS' });
      longestMs = Math.max(longestMs, performance.now() - startedAt);
      // One more after the end, which may have waited for the lock.
      if (over.signal.aborted) break;
    }
    expect((await dropping).isBusy).toBe(true);
    // One wait for each of the two locks, and time for a busy machine.
    expect(longestMs).toBeLessThan(4_000);
    expect(await database.remaining(old)).toContain('delivery');
    await reader.query('COMMIT');
    await dropOld(database);
    expect(await database.remaining(old)).toEqual(['event id']);
  });

  it('is dropped by one of several processes', async () => {
    const database = await openDatabase();
    await database.createPartitions(OLD);
    const old = await database.insert({ timeMs: OLD, status: 'SUCCESS' });
    const jobs = [createJob(database), createJob(database), createJob(database)];
    for (const { job } of jobs) job.start();
    await isGone(database, old);
    await Promise.all(jobs.map(({ job }) => job.stop()));
    const lines = jobs
      .flatMap((job) => job.lines)
      .map((line) => JSON.parse(line) as { msg: string; dropped: string[]; deletedRows: number });
    expect(new Set(lines.map(({ msg }) => msg))).toEqual(new Set(['retention']));
    const dropped = lines.flatMap((line) => line.dropped);
    expect(dropped).toContainEqual(expect.stringMatching(/^events_\d{8}$/));
    // No partition was dropped twice.
    expect(dropped.length).toBe(new Set(dropped).size);
    expect(lines.map(({ deletedRows }) => deletedRows).filter((count) => count > 0)).toEqual([1]);
  }, 80_000);
});

describe('partitions', () => {
  it('are created once by processes that start at the same time', async () => {
    const database = await openDatabase();
    const expected = await database.partitions();
    await dropAllPartitions(database);
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => create(database)));
    expect(outcomes.filter(({ created }) => created.length > 0)).toHaveLength(1);
    expect(await database.partitions()).toEqual(expected);
  });

  it('are created by the retention job if some are missing, even after rows for them were inserted', async () => {
    const database = await openDatabase();
    const expected = await database.partitions();
    await dropAllPartitions(database);
    const row = await database.insert({ timeMs: NOW, status: 'PENDING' });
    const { job, lines } = createJob(database);
    job.start();
    await waitFor(async () => (await database.partitions()).length > 0, { what: 'partitions' });
    expect(await database.partitions()).toEqual(expected);
    await waitFor(() => lines.length > 0, { what: 'the end of the round' });
    const { created } = JSON.parse(lines.join('')) as { created: string[] };
    expect(created.toSorted()).toEqual(expected);
    expect(await database.remaining(row)).toEqual(ALL);
    expect((await database.pool.query('SELECT FROM deliveries_default')).rows).toEqual([]);
  });

  it('take over the rows of their time from the default partitions', async () => {
    const database = await openDatabase();
    await dropAllPartitions(database);
    const rows = [];
    for (const timeMs of [NOW - DAY_MS, NOW, NOW + DAY_MS])
      rows.push(await database.insert({ timeMs, status: 'PENDING' }));
    const farOut = await database.insert({ timeMs: NOW + 400 * DAY_MS, status: 'PENDING' });
    await create(database);
    for (const ids of rows) expect(await database.remaining(ids)).toEqual(ALL);
    expect(await database.remaining(farOut)).toEqual(ALL);
    const { rows: left } = await database.pool.query<{ id: string }>('SELECT id FROM deliveries_default');
    expect(left).toEqual([{ id: farOut.delivery }]);
  });

  it('wait for a transaction that changes a row to move', async () => {
    const database = await openDatabase();
    await dropAllPartitions(database);
    const { delivery } = await database.insert({ timeMs: NOW, status: 'PENDING' });
    const writer = new pg.Client({ connectionString: database.url });
    cleanUps.push(() => writer.end());
    await writer.connect();
    await writer.query('BEGIN');
    await writer.query(`UPDATE deliveries SET status = 'SUCCESS' WHERE id = $1`, [delivery]);
    await expect(create(database)).rejects.toSatisfy(isTimeout);
    await writer.query('COMMIT');
    await create(database);
    const { rows } = await database.pool.query('SELECT status FROM deliveries WHERE id = $1', [delivery]);
    expect(rows).toEqual([{ status: 'SUCCESS' }]);
  });
});

describe('rows without a partition', () => {
  it('are deleted when they expire, except pending deliveries and their events', async () => {
    const database = await openDatabase();
    const pending = await database.insert({ timeMs: OLD, status: 'PENDING' });
    const ended = await database.insert({ timeMs: OLD, status: 'FAILURE' });
    const recent = await database.insert({ timeMs: NOW - 20 * DAY_MS, status: 'SUCCESS' });
    await database.pool.query(
      `INSERT INTO rejected_events (id, subject, reason, message, size_bytes)
       VALUES ($1, 'a', 'INVALID_JSON', '', 0), ($2, 'b', 'INVALID_JSON', '', 0)`,
      [uuid7(OLD), uuid7(NOW)],
    );
    expect((await deleteRows(database)).isDone).toBe(true);
    expect(await database.remaining(pending)).toEqual(ALL.filter((name) => name !== 'attempt'));
    expect(await database.remaining(ended)).toEqual([]);
    expect(await database.remaining(recent)).toEqual(ALL);
    const { rows } = await database.pool.query('SELECT subject FROM rejected_events');
    expect(rows).toEqual([{ subject: 'b' }]);
  });
});

describe('RETENTION_MAX_PER_SUBSCRIPTION', () => {
  it('keeps the newest ended deliveries of each subscription, and all pending ones', async () => {
    const database = await openDatabase();
    const [first, second] = [uuid7(NOW, 'first'), uuid7(NOW, 'second')];
    for (const id of [first, second]) await insertSubscription(database, id);
    const statuses = ['PENDING', 'SUCCESS', 'FAILURE', 'PENDING', 'CANCELLED', 'SUCCESS', 'PENDING'] as const;
    const rows = [];
    for (const [index, status] of statuses.entries()) {
      rows.push(await database.insert({ timeMs: NOW - 10_000 + index, status, subscriptionId: first }));
    }
    const other = await database.insert({ timeMs: NOW - 20_000, status: 'SUCCESS', subscriptionId: second });
    const outcome = await withConnection(database.url, (client) =>
      trimSubscriptions(client, { keep: 2, afterId: LOWEST_ID, deadline: deadline() }),
    );
    expect(outcome).toEqual({ count: 2, nextAfterId: undefined });
    const left = await Promise.all(rows.map(async (ids) => (await database.remaining(ids)).length));
    // The event and the id of a trimmed delivery remain.
    expect(left).toEqual([4, 2, 2, 4, 4, 4, 4]);
    expect(await database.remaining(other)).toEqual(ALL);
  });

  it('is applied by the retention job', async () => {
    const database = await openDatabase();
    const subscriptionId = uuid7(NOW, 'first');
    await insertSubscription(database, subscriptionId);
    const rows: DeliveryIds[] = [];
    for (let index = 0; index < 5; index += 1) {
      rows.push(await database.insert({ timeMs: NOW - 10_000 + index, status: 'SUCCESS', subscriptionId }));
    }
    const { job, lines } = createJob(database, 2);
    job.start();
    await waitFor(() => lines.length > 0, { what: 'the end of the round' });
    const left = await Promise.all(rows.map(async (ids) => (await database.remaining(ids)).length));
    expect(left).toEqual([2, 2, 2, 4, 4]);
    expect(JSON.parse(lines.join(''))).toMatchObject({ msg: 'retention', trimmedDeliveries: 3 });
  });

  it('deletes several batches, and continues later at the position of its time limit', async () => {
    const database = await openDatabase();
    const subscriptionId = uuid7(NOW, 'first');
    await insertSubscription(database, subscriptionId);
    await database.pool.query(
      `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, status)
       SELECT gen_random_uuid(), 'acme', $1, gen_random_uuid(), 'a', 'SUCCESS' FROM generate_series(1, 1200)`,
      [subscriptionId],
    );
    const trim = (deadlineMs: number) =>
      withConnection(database.url, (client) =>
        trimSubscriptions(client, { keep: 100, afterId: LOWEST_ID, deadline: { ...deadline(), deadlineMs } }),
      );
    expect(await trim(performance.now() - 1)).toEqual({ count: 0, nextAfterId: LOWEST_ID });
    expect(await trim(performance.now() + 60_000)).toEqual({ count: 1_100, nextAfterId: undefined });
  });
});

it('a waiting retention job stops at once', async () => {
  const database = await openDatabase();
  await database.createPartitions(OLD);
  const { job, lines } = createJob(database);
  job.start();
  await waitFor(() => lines.length > 0, { what: 'the first round' });
  const startedAt = performance.now();
  await job.stop();
  await job.stop();
  expect(performance.now() - startedAt).toBeLessThan(15_000);
});
