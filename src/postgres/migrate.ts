import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { type Logger, pino } from 'pino';
import { StartError } from '../lib/start-error.ts';
import type { Queryable } from './client.ts';
import { type Connection, openConnection, openSession } from './connection.ts';
import { isTransient } from './errors.ts';

/** Arbitrary advisory-lock key. Never change it. */
const MIGRATION_LOCK = 7_221_950;

const CREATE_MIGRATIONS_TABLE = `
  CREATE TABLE IF NOT EXISTS _prisma_migrations (
    id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL, finished_at timestamptz, migration_name varchar(255) NOT NULL,
    logs text, rolled_back_at timestamptz, started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0
  )`;

type MigrateLimits = {
  /** Milliseconds between two tries to take the lock while another process migrates. */
  readonly lockEveryMs: number;
  /** Time limit for taking the lock, in milliseconds. */
  readonly lockWithinMs: number;
  /** Milliseconds between two log lines about a wait for the lock or a running migration. */
  readonly logEveryMs: number;
};

type MigrateOptions = { readonly log?: Logger; readonly limits?: Partial<MigrateLimits> };

const LIMITS: MigrateLimits = { lockEveryMs: 500, lockWithinMs: 600_000, logEveryMs: 30_000 };
/**
 * Time limit of a migration for each table lock, in milliseconds: other statements queue behind its lock request. After it,
 * the start retries the migration.
 */
const TABLE_LOCK_MS = 5_000;
/** Time limit of the queries that observe a migration over another connection, in milliseconds. */
const ANSWER_MS = 5_000;

type Migration = { readonly name: string; readonly sql: string; readonly checksum: string };
type Run = MigrateLimits & { readonly databaseUrl: string; readonly log: Logger };

/**
 * Applies the migrations of `directory` (`<name>/migration.sql`, in the order of their names) that are not applied to the
 * database, and returns their names. Each runs in a transaction of its own, except migrations whose first line is
 * `-- online` (see runOnline). Applied migrations are recorded in Prisma's table, so that Prisma's tools can read them. Any
 * number of processes may call this at the same time: an advisory lock serialises them. Throws a StartError if a retry
 * would not help. docs/adr/0001 explains why Prisma's engine is not used.
 */
export async function migrate(
  databaseUrl: string,
  directory: string,
  { log = pino({ level: 'silent' }), limits }: MigrateOptions = {},
): Promise<string[]> {
  const run: Run = { ...LIMITS, ...limits, databaseUrl, log };
  const connection = await openSession(databaseUrl, { statementMs: 0, idleInTransactionMs: 0 });
  const { client } = connection;
  try {
    await takeLock(client, run);
    await client.query(CREATE_MIGRATIONS_TABLE);
    const missing = await missingMigrations(client, directory);
    for (const migration of missing) await applyWatched(connection, { ...run, migration });
    return missing.map(({ name }) => name);
  } finally {
    // The end of the session also releases the lock.
    await connection.close();
  }
}

async function readMigrations(directory: string): Promise<Migration[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return Promise.all(
    names.sort().map(async (name) => {
      const sql = await readFile(`${directory}/${name}/migration.sql`, 'utf8');
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

/**
 * The migrations of `directory` that are not applied to the database, in their order. Throws a StartError if one was changed
 * after it had been applied.
 */
export async function missingMigrations(client: Queryable, directory: string): Promise<Migration[]> {
  const migrations = await readMigrations(directory);
  const { rows: tables } = await client.query(`SELECT WHERE to_regclass('_prisma_migrations') IS NOT NULL`);
  if (tables.length === 0) return migrations;
  const { rows } = await client.query<{ name: string; checksum: string }>(
    'SELECT migration_name AS name, checksum FROM _prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL',
  );
  const applied = new Map(rows.map((row) => [row.name, row.checksum]));
  for (const { name, checksum } of migrations) {
    if (applied.has(name) && applied.get(name) !== checksum) {
      throw new StartError(
        `migration ${name} was changed after it had been applied to this database: run the version of the program that ` +
          'applied it, or start with an empty database (for the embedded one, delete DATA_DIR/postgres)',
      );
    }
  }
  return migrations.filter(({ name }) => !applied.has(name));
}

/**
 * Polls for the advisory lock. A statement that waited for it would hold a snapshot, and CREATE INDEX CONCURRENTLY in the
 * migration of the lock's holder would wait for that snapshot: a deadlock.
 */
async function takeLock(client: pg.Client, { log, lockEveryMs, lockWithinMs, logEveryMs }: Run): Promise<void> {
  const startedAt = performance.now();
  let loggedAt = Number.NEGATIVE_INFINITY;
  for (;;) {
    const { rows } = await client.query<{ isTaken: boolean }>('SELECT pg_try_advisory_lock($1) AS "isTaken"', [
      MIGRATION_LOCK,
    ]);
    if (rows[0]?.isTaken === true) return;
    const waitedMs = performance.now() - startedAt;
    if (waitedMs > lockWithinMs) throw new Error('another process did not finish its migration in time');
    if (performance.now() - loggedAt >= logEveryMs) {
      loggedAt = performance.now();
      const { rows: holders } = await client.query(HOLDER, [MIGRATION_LOCK]);
      log.warn(
        { holder: holders[0], waitedSeconds: toSeconds(waitedMs) },
        'waiting for the migration of another process',
      );
    }
    await delay(lockEveryMs);
  }
}

const HOLDER = `
  SELECT a.pid, a.client_addr AS address, a.application_name AS name, a.backend_start AS since
  FROM pg_locks l JOIN pg_stat_activity a USING (pid)
  WHERE l.locktype = 'advisory' AND l.classid = 0 AND l.objid = $1::bigint::oid AND l.objsubid = 1 AND l.granted`;

/** Applies a migration and logs its progress every `logEveryMs`. If its session no longer exists, the migration fails. */
async function applyWatched(connection: Connection, run: Run & { readonly migration: Migration }): Promise<void> {
  const { log, logEveryMs, databaseUrl, migration } = run;
  const { client, close } = connection;
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  const pid = rows[0]?.pid;
  const startedAt = performance.now();
  const facts = () => ({ migration: migration.name, seconds: toSeconds(performance.now() - startedAt) });
  const logProgress = async () => {
    const activity = await activityOf(databaseUrl, pid).catch(() => null);
    if (activity === undefined) await close();
    log.info({ ...facts(), ...activity }, 'migration is running');
  };
  log.info({ migration: migration.name }, 'migration started');
  const timer = setInterval(() => void logProgress(), logEveryMs);
  try {
    await apply(client, migration);
    log.info(facts(), 'migration applied');
  } finally {
    clearInterval(timer);
  }
}

/** The activity of the session with this pid, read over another connection; undefined if there is no such session. */
async function activityOf(databaseUrl: string, pid: number | undefined): Promise<object | undefined> {
  const { client, close } = await openConnection({ connectionString: databaseUrl, query_timeout: ANSWER_MS });
  try {
    const { rows } = await client.query<object>(ACTIVITY, [pid]);
    return rows[0];
  } finally {
    await close();
  }
}

const ACTIVITY = `
  SELECT a.state, a.wait_event_type AS "waitsFor", pg_blocking_pids(a.pid) AS "blockedBy", left(a.query, 200) AS statement,
    p.phase, p.blocks_done::float8 AS "blocksDone", p.blocks_total::float8 AS "blocksTotal"
  FROM pg_stat_activity a LEFT JOIN pg_stat_progress_create_index p USING (pid) WHERE a.pid = $1`;

async function apply(client: pg.Client, migration: Migration): Promise<void> {
  try {
    if (isOnline(migration.sql)) {
      for (const statement of statementsOf(migration.sql)) await runOnline(client, statement);
      await record(client, migration);
      return;
    }
    await client.query('BEGIN');
    await client.query(`SET LOCAL lock_timeout = ${TABLE_LOCK_MS}`);
    await client.query(migration.sql);
    await record(client, migration);
    await client.query('COMMIT');
  } catch (error) {
    if (isTransient(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(`migration ${migration.name} failed: ${reason}`, { cause: error });
  }
}

async function record(client: pg.Client, { name, checksum }: Migration): Promise<void> {
  await client.query(
    'INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, applied_steps_count) VALUES ($1, $2, now(), $3, 1)',
    [randomUUID(), checksum, name],
  );
}

function toSeconds(ms: number): number {
  return Math.round(ms / 1_000);
}

/** The first line of a migration that runs outside a transaction, statement by statement. */
const MARK = '-- online';

function isOnline(sql: string): boolean {
  return sql.split('\n', 1)[0]?.trim() === MARK;
}

/** The statements of an online migration. A `;` at the end of a line ends a statement: it cannot define a function. */
function statementsOf(sql: string): string[] {
  return sql
    .replace(/^\s*--.*$/gm, '')
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}

type NewIndex = { readonly unique: string; readonly name: string; readonly table: string; readonly rest: string };

const CREATE_INDEX =
  /^CREATE\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)\s+ON\s+(\w+)\s*([\s\S]*)$/i;

/**
 * Runs a statement of an online migration. It must be idempotent: after an interruption the migration is run from its start.
 * An invalid index that an interruption left is created again. An index of a partitioned table, which Postgres cannot
 * create concurrently, is created partition by partition.
 */
async function runOnline(client: pg.Client, statement: string): Promise<void> {
  const [, unique = '', name, table, rest = ''] = CREATE_INDEX.exec(statement) ?? [];
  if (name === undefined || table === undefined) {
    await client.query(statement);
    return;
  }
  const partitions = await partitionsOf(client, table);
  const index = { unique, name, table, rest };
  if (partitions === undefined) await createIndex(client, index);
  else await createPartitionedIndex(client, index);
}

/** The names of the table's partitions; undefined if the table is not partitioned. */
async function partitionsOf(client: pg.Client, table: string): Promise<readonly string[] | undefined> {
  const { rows } = await client.query<{ isPartitioned: boolean; names: string[] }>(
    `SELECT t.relkind = 'p' AS "isPartitioned", ARRAY(
       SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = t.oid
     ) AS names
     FROM pg_class t WHERE t.oid = $1::regclass`,
    [table],
  );
  return rows[0]?.isPartitioned === true ? rows[0].names : undefined;
}

async function createIndex(client: pg.Client, { unique, name, table, rest }: NewIndex): Promise<void> {
  const { rowCount } = await client.query(
    'SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid',
    [name],
  );
  if (rowCount === 1) await client.query(`DROP INDEX CONCURRENTLY ${name}`);
  await client.query(`CREATE ${unique}INDEX CONCURRENTLY IF NOT EXISTS ${name} ON ${table} ${rest}`);
}

/** Partitions that are created at the same time get the index from the parent table. */
async function createPartitionedIndex(client: pg.Client, index: NewIndex): Promise<void> {
  const { unique, name, table, rest } = index;
  await client.query(`CREATE ${unique}INDEX IF NOT EXISTS ${name} ON ONLY ${table} ${rest}`);
  for (const partition of (await partitionsOf(client, table)) ?? []) {
    if (await hasPartOf(client, { name, partition })) continue;
    const part = `${name}_${partition.slice(table.length + 1)}`;
    await createIndex(client, { ...index, name: part, table: partition });
    await client.query(`ALTER INDEX ${name} ATTACH PARTITION ${part}`);
  }
}

async function hasPartOf(
  client: pg.Client,
  { name, partition }: { readonly name: string; readonly partition: string },
): Promise<boolean> {
  const { rowCount } = await client.query(
    `SELECT FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid
     WHERE i.inhparent = $1::regclass AND x.indrelid = $2::regclass`,
    [name, partition],
  );
  return rowCount === 1;
}
