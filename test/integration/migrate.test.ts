import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { beforeEach, expect, it } from 'vitest';
import { openConnection } from '../../src/postgres/connection.ts';
import { migrate, missingMigrations } from '../../src/postgres/migrate.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { createTestDatabase } from '../support/database.ts';
import { createTempFolder } from '../support/temp-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();
let url: string;
let folder: string;
let query: <T>(sql: string) => Promise<T[]>;

beforeEach(async () => {
  const database = await createTestDatabase();
  cleanUps.push(() => database.drop());
  url = database.url;
  const { client, close } = await openConnection({ connectionString: url });
  cleanUps.push(close);
  query = async <T>(sql: string) => (await client.query(sql)).rows as T[];
  const temp = await createTempFolder();
  cleanUps.push(() => temp.remove());
  folder = temp.path;
});

async function addMigration(name: string, sql: string): Promise<void> {
  await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, name, 'migration.sql'), sql);
}

function recordingLog() {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
  return { log, lines, has: (text: string) => lines.some((line) => line.includes(text)) };
}

const INDEX = `-- online
-- For a filter that there will be.
CREATE INDEX CONCURRENTLY attempts_online_idx ON attempts (tenant, id) WHERE status_code = 418;
CREATE INDEX CONCURRENTLY tenants_online_idx ON tenants (version);
`;

const indexes = () =>
  query<{ name: string; isValid: boolean }>(`SELECT indexrelid::regclass::text AS name, indisvalid AS "isValid"
    FROM pg_index WHERE indexrelid::regclass::text LIKE '%online_idx%'`);

/** Expects an index on each partition of attempts, including the default, on the parent, and on tenants. */
async function expectAllIndexes(): Promise<void> {
  const found = await indexes();
  const [partitions] = await query<{ count: number }>(
    `SELECT count(*)::integer AS count FROM pg_inherits WHERE inhparent = 'attempts'::regclass`,
  );
  expect(partitions?.count).toBeGreaterThan(1);
  expect(found).toHaveLength((partitions?.count ?? 0) + 2);
  expect(found.filter(({ isValid }) => !isValid)).toEqual([]);
}

it('an online migration creates indexes, even on partitioned tables, during writes', async () => {
  await addMigration('0002_online', INDEX);
  const { log, has } = recordingLog();
  const { client: writer, close } = await openConnection({ connectionString: url });
  cleanUps.push(close);
  // An open transaction with writes: an exclusive lock would have to wait for it, and so does the creation of the index.
  await writer.query(`BEGIN; INSERT INTO tenants (name) VALUES ('acme'); LOCK TABLE attempts IN ROW EXCLUSIVE MODE`);
  const migrated = migrate(url, folder, { log, limits: { logEveryMs: 100 } });
  await waitFor(() => has('migration is running') && has('blockedBy'), { what: 'the log line' });
  // The waiting migration does not block other writers.
  await query(`SET lock_timeout = 1000; INSERT INTO tenants (name) VALUES ('other')`);
  await writer.query('COMMIT');
  expect(await migrated).toEqual(['0002_online']);
  await expectAllIndexes();
  expect(has('migration applied')).toBe(true);
  expect(await migrate(url, folder)).toEqual([]);
});

it('an interrupted online migration continues, and replaces invalid indexes', async () => {
  // The state after an interrupted CREATE INDEX CONCURRENTLY.
  await query('CREATE INDEX attempts_online_idx ON ONLY attempts (tenant, id) WHERE status_code = 418');
  await query(`CREATE INDEX attempts_online_idx_default ON attempts_default (tenant, id) WHERE status_code = 418`);
  await query(`CREATE INDEX tenants_online_idx ON tenants (version)`);
  await query(`UPDATE pg_index SET indisvalid = false
    WHERE indexrelid IN ('attempts_online_idx_default'::regclass, 'tenants_online_idx'::regclass)`);
  await addMigration('0002_online', INDEX);
  expect(await migrate(url, folder)).toEqual(['0002_online']);
  await expectAllIndexes();
});

it('a process that waits for the migration of another process logs it, and times out', async () => {
  await addMigration('0002_table', 'CREATE TABLE migrated (id integer)');
  const { client: holder, close } = await openConnection({ connectionString: url, application_name: 'the holder' });
  cleanUps.push(close);
  await holder.query('SELECT pg_advisory_lock(7221950)');
  const { log, lines } = recordingLog();
  const limits = { lockEveryMs: 20, logEveryMs: 200, lockWithinMs: 1_000 };
  await expect(migrate(url, folder, { log, limits })).rejects.toThrow('another process');
  const waiting = lines.filter((line) => line.includes('waiting for the migration of another process'));
  expect(waiting.length).toBeGreaterThan(1);
  expect(waiting[0]).toContain('the holder');
  const migrating = migrate(url, folder, { limits: { ...limits, lockWithinMs: 60_000 } });
  await holder.query('SELECT pg_advisory_unlock(7221950)');
  expect(await migrating).toEqual(['0002_table']);
  // The start migrates, and so waits for the lock, only if this returns migrations.
  expect(await missingMigrations(holder, folder)).toEqual([]);
});

it('a migration that waits for a table times out, so that no query queues behind it, and can be repeated', async () => {
  await addMigration('0002_column', 'ALTER TABLE tenants ADD COLUMN migrated integer');
  const { client: reader, close } = await openConnection({ connectionString: url });
  cleanUps.push(close);
  await reader.query('BEGIN; SELECT FROM tenants');
  await expect(migrate(url, folder)).rejects.toMatchObject({ code: '55P03' });
  await reader.query('COMMIT');
  expect(await migrate(url, folder)).toEqual(['0002_column']);
});
