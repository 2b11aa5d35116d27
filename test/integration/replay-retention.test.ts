import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { republishDelivery } from '../../src/delivery/queue/store.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { type Queryable, transaction } from '../../src/postgres/client.ts';
import { withConnection } from '../../src/postgres/connection.ts';
import { insertReplayed } from '../../src/replays/portion.ts';
import { deleteExpiredRows } from '../../src/retention/expired-rows.ts';
import {
  createRetentionDatabase,
  DAY_MS,
  dropPartitionsOnce,
  dropUnusedPartitions,
  type RetentionDatabase,
} from '../support/retention-database.ts';

const NOW = Date.now();
const OLD = NOW - 40 * DAY_MS;
const RETENTION = { nowMs: NOW, retentionDays: 30 };
const SUBSCRIPTION_ID = uuid7(NOW);
const { signal } = new AbortController();

let database: RetentionDatabase;

beforeEach(async () => {
  database = await createRetentionDatabase();
  await database.pool.query(
    `INSERT INTO webhook_subscriptions (id, tenant, url, event_types) VALUES ($1, 'acme', 'https://example.com', '{*}')`,
    [SUBSCRIPTION_ID],
  );
});
afterEach(async () => {
  await database.drop();
});

const failed = () => database.insert({ timeMs: OLD, status: 'FAILURE', subscriptionId: SUBSCRIPTION_ID });
const deleteRows = () =>
  withConnection(database.url, (client) =>
    deleteExpiredRows(client, { ...RETENTION, deadline: { signal, deadlineMs: performance.now() + 60_000 } }),
  );

async function replay(db: Queryable, eventRowId: string): Promise<void> {
  const deliveries = [{ id: uuid7(NOW), pastId: uuid7(NOW), subscriptionId: SUBSCRIPTION_ID, eventRowId }];
  expect(await insertReplayed(db, { replayId: uuid7(NOW), deliveries, limit: 1 })).toMatchObject({ changed: 1 });
}

describe('an old event', () => {
  it.each(['retried', 'replayed'])(
    'is kept while a delivery of it is being %s, and as long as that delivery is pending',
    async (how) => {
      await database.createPartitions(OLD);
      await database.createPartitions(NOW);
      const { event, delivery } = await failed();
      await transaction(database.pool, async (db) => {
        if (how === 'replayed') await replay(db, event);
        else expect(await republishDelivery(db, { id: delivery, maxDataBytes: 1_000 })).toBeDefined();
        expect(await dropPartitionsOnce(database.url, RETENTION)).toMatchObject({ isBusy: true });
      });
      const { kept } = await dropUnusedPartitions(database.url, RETENTION);
      expect(kept.map((name) => name.split('_')[0]).sort()).toEqual(['deliveries', 'events']);
      expect((await database.pool.query('SELECT FROM events WHERE id = $1', [event])).rowCount).toBe(1);
    },
  );

  it('outside of the dated partitions is kept as well', async () => {
    const { event, delivery } = await failed();
    await database.pool.query('DELETE FROM deliveries WHERE id = $1', [delivery]);
    await transaction(database.pool, async (db) => {
      await replay(db, event);
      await deleteRows();
    });
    await deleteRows();
    expect((await database.pool.query('SELECT FROM events WHERE id = $1', [event])).rowCount).toBe(1);
  });
});

it('replays are deleted at the retention after their end, running ones are kept', async () => {
  const insert = (startMs: number, status: string, endMs?: number) =>
    database.pool.query(
      `INSERT INTO replays (id, tenant, status, filter, rate_per_second, delivery_count, completed_at)
       VALUES ($1, 'acme', $2, '{}', 1, 1, $3)`,
      [uuid7(startMs), status, endMs === undefined ? null : new Date(endMs)],
    );
  for (const startMs of [OLD, NOW]) await insert(startMs, 'RUNNING');
  for (const status of ['COMPLETED', 'CANCELLED']) {
    await insert(OLD, status, OLD + 1_000);
    await insert(OLD, status, NOW);
    await insert(NOW, status, NOW);
  }
  await deleteRows();
  const { rows } = await database.pool.query<{ status: string }>(
    'SELECT status FROM replays WHERE id < $1 ORDER BY status::text',
    [uuid7(OLD + 1_000)],
  );
  expect(rows.map(({ status }) => status)).toEqual(['CANCELLED', 'COMPLETED', 'RUNNING']);
  expect((await database.pool.query('SELECT FROM replays')).rowCount).toBe(6);
});
