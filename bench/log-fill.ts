import pg from 'pg';
import { countsOf } from '../src/delivery-log/attempt-counter.ts';
import type { Report } from '../src/embedded/report.ts';
import { withConnection } from '../src/postgres/connection.ts';
import { createPartitions } from '../src/retention/partitions.ts';
import { seedRange, seedSubscriptions } from './log-seed.ts';

type Query = <T extends pg.QueryResultRow>(sql: string, values?: unknown[]) => Promise<T[]>;

const DAYS = 28;
const DAY_MS = 86_400_000;
const REPORT_EVERY_ROWS = 250_000;
/** Connections that fill the tables in parallel: a machine has at least two cores. */
const CONNECTIONS = 2;

/** Postgres settings while the tables are filled. Durability is off, because no data has to survive a crash. */
const HASTY = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  autovacuum: 'off',
  max_wal_size: '32GB',
  checkpoint_timeout: '1h',
  maintenance_work_mem: '512MB',
  work_mem: '256MB',
};

/**
 * Fills a new, migrated database as if the program had written its log over four weeks. It is faster than the program,
 * because indexes and counts are created at the end. The program must not run yet.
 */
export async function fillLog(
  databaseUrl: string,
  { rows, report }: { readonly rows: number; readonly report: Report },
) {
  const nowMs = Date.now();
  for (let day = DAYS; day > 0; day -= 4) {
    const retention = { nowMs: nowMs - day * DAY_MS, retentionDays: 30 };
    await withConnection(databaseUrl, (client) => createPartitions(client, retention));
  }
  const pool = new pg.Pool({ connectionString: databaseUrl, max: CONNECTIONS });
  const query: Query = async <T extends pg.QueryResultRow>(sql: string, values: unknown[] = []) =>
    (await pool.query<T>(sql, values)).rows;
  try {
    for (const [name, value] of Object.entries(HASTY)) await query(`ALTER SYSTEM SET ${name} = '${value}'`);
    await query('SELECT pg_reload_conf()');
    const indexes = await dropIndexes(query);
    await seedSubscriptions(query);
    await seedRows(databaseUrl, { rows, nowMs, report });
    report('counting');
    await query('ALTER TABLE attempt_counts DROP CONSTRAINT attempt_counts_pkey');
    await query(`INSERT INTO attempt_counts (scope, hour, event_type, status_code, failure_reason, response_class, count)
      ${countsOf('attempts')}`);
    report(`making ${indexes.length} indexes`);
    await inParallel(indexes, (statement) => query(statement));
    report('VACUUM ANALYZE');
    await inParallel(['attempts', 'deliveries', 'events', ''], (table) => query(`VACUUM ANALYZE ${table}`));
    await query('ALTER SYSTEM RESET ALL');
    await query('SELECT pg_reload_conf()');
    await query('CHECKPOINT');
  } finally {
    await pool.end();
  }
}

/**
 * Drops the big tables' indexes and returns the statements that create them again. Keeps the primary keys, which cost
 * little: the rows are inserted in their order.
 */
async function dropIndexes(query: Query): Promise<string[]> {
  const indexes = await query<{ name: string; definition: string }>(
    `SELECT indexrelid::regclass AS name, pg_get_indexdef(indexrelid) AS definition FROM pg_index
     WHERE indrelid IN ('events'::regclass, 'deliveries'::regclass, 'attempts'::regclass) AND NOT indisprimary`,
  );
  const [counts] = await query<{ definition: string }>(
    `SELECT 'ALTER TABLE attempt_counts ADD ' || pg_get_constraintdef(oid) AS definition FROM pg_constraint
     WHERE conname = 'attempt_counts_pkey'`,
  );
  for (const { name } of indexes) await query(`DROP INDEX ${name}`);
  // pg_get_indexdef() writes ON ONLY for partitioned tables, which would leave the partitions without the index.
  const definitions = indexes.map(({ definition }) => definition.replace(' ON ONLY ', ' ON '));
  return [...(counts === undefined ? [] : [counts.definition]), ...definitions];
}

type SeedRows = { readonly rows: number; readonly nowMs: number; readonly report: Report };

async function seedRows(databaseUrl: string, { rows, nowMs, report }: SeedRows): Promise<void> {
  let done = 0;
  const onChunk = (more: number) => {
    const reported = Math.floor(done / REPORT_EVERY_ROWS);
    done += more;
    if (Math.floor(done / REPORT_EVERY_ROWS) > reported) report(`${done} of ${rows} attempts`);
  };
  const share = Math.ceil(rows / CONNECTIONS);
  await inParallel([...Array(CONNECTIONS).keys()], async (index) => {
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    try {
      // Disables the triggers that record attempts for the statistics.
      await client.query('SET session_replication_role = replica');
      const range = { from: index * share, to: Math.min(rows, (index + 1) * share) };
      await seedRange((sql, values) => client.query(sql, values), { rows, days: DAYS, nowMs, ...range, onChunk });
    } finally {
      await client.end();
    }
  });
}

/** Runs one task at a time for each connection. */
async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const left = [...items];
  const next = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, next));
}
