import { expect, it } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { withConnection } from '../../src/postgres/connection.ts';
import { deleteExpiredRows } from '../../src/retention/expired-rows.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { createRetentionDatabase, DAY_MS, type RetentionDatabase } from '../support/retention-database.ts';

const cleanUps = createCleanUps();

const NOW = Date.now();

async function openDatabase(): Promise<RetentionDatabase> {
  const database = await createRetentionDatabase();
  cleanUps.push(() => database.drop());
  return database;
}

/** Creates a subscription whose settings were changed once at each of these ages, in days. */
async function subscribe({ pool }: RetentionDatabase, changedDaysAgo: readonly number[]): Promise<string> {
  const id = uuid7(NOW);
  await pool.query(
    `INSERT INTO webhook_subscriptions (id, tenant, url, event_types) VALUES ($1, 'acme', 'https://example.com', '{a}')`,
    [id],
  );
  for (const [index, days] of changedDaysAgo.entries()) {
    await pool.query('UPDATE webhook_subscriptions SET filter = $2 WHERE id = $1', [id, { index }]);
    await pool.query(
      `UPDATE matching_settings SET superseded_at = $2
       WHERE subscription_id = $1 AND from_version = (
         SELECT max(from_version) FROM matching_settings WHERE subscription_id = $1 AND until_version IS NOT NULL)`,
      [id, new Date(NOW - days * DAY_MS)],
    );
  }
  return id;
}

/** The ages in days at which the remaining settings were superseded; null for the current settings. */
async function remaining({ pool }: RetentionDatabase, id: string): Promise<(number | null)[]> {
  const { rows } = await pool.query<{ supersededAt: Date | null }>(
    'SELECT superseded_at AS "supersededAt" FROM matching_settings WHERE subscription_id = $1 ORDER BY from_version',
    [id],
  );
  return rows.map(({ supersededAt }) => (supersededAt === null ? null : Math.round((NOW - +supersededAt) / DAY_MS)));
}

const deleteRows = ({ url }: RetentionDatabase) => {
  const deadline = { signal: new AbortController().signal, deadlineMs: performance.now() + 60_000 };
  return withConnection(url, (client) => deleteExpiredRows(client, { nowMs: NOW, retentionDays: 30, deadline }));
};

it('settings superseded before the retention are deleted, in several batches; the current ones are kept', async () => {
  const database = await openDatabase();
  const id = await subscribe(database, [60, 31, 29, 1]);
  await database.pool.query(
    `INSERT INTO matching_settings (subscription_id, from_version, until_version, superseded_at, event_types, is_active)
     SELECT $1, -n, 1 - n, $2, '{}', true FROM generate_series(1, 2500) n`,
    [uuid7(NOW), new Date(NOW - 31 * DAY_MS)],
  );
  await database.insert({ timeMs: NOW - 20 * DAY_MS, status: 'SUCCESS' });
  const { count, isDone } = await deleteRows(database);
  expect({ count, isDone }).toEqual({ count: 2_502, isDone: true });
  expect(await remaining(database, id)).toEqual([29, 1, null]);
});

it('settings are kept as long as an event of their time', async () => {
  const database = await openDatabase();
  const id = await subscribe(database, [60, 45, 31]);
  const { delivery } = await database.insert({ timeMs: NOW - 50 * DAY_MS, status: 'PENDING' });
  await deleteRows(database);
  expect(await remaining(database, id)).toEqual([45, 31, null]);
  await database.pool.query(`UPDATE deliveries SET status = 'SUCCESS' WHERE id = $1`, [delivery]);
  await deleteRows(database);
  expect(await remaining(database, id)).toEqual([null]);
});

it('only changes that affect matching create new settings, and a deleted subscription has none', async () => {
  const database = await openDatabase();
  const { pool } = database;
  const id = await subscribe(database, []);
  const change = (set: string) => pool.query(`UPDATE webhook_subscriptions SET ${set} WHERE id = $1`, [id]);
  const count = async () => (await remaining(database, id)).length;
  for (const set of [`url = 'https://example.org'`, 'timeout_ms = 1', 'updated_at = now()', 'is_active = is_active']) {
    await change(set);
    expect(await count(), set).toBe(1);
  }
  const changes = [
    `event_types = '{b}'`,
    'is_active = false',
    `filter = '{"a":1}'`,
    `filter = '{"a":2}'`,
    'filter = null',
  ];
  for (const [index, set] of changes.entries()) {
    await change(set);
    expect(await count(), set).toBe(index + 2);
  }
  await change('deleted_at = now()');
  const { rows } = await pool.query(
    `SELECT from_version AS "from", until_version AS "until" FROM matching_settings WHERE subscription_id = $1 ORDER BY 1`,
    [id],
  );
  // The settings follow each other without gaps, except for versions of other subscriptions.
  expect(rows).toEqual([
    { from: '1', until: '6' },
    ...['6', '7', '8', '9', '10'].map((from) => ({ from, until: String(Number(from) + 1) })),
  ]);
});
