import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type pg from 'pg';
import { StartError } from '../start-error.ts';
import { isTransient } from './errors.ts';
import { openSession } from './session.ts';

/** Any number: it only has to be the same in every process of every version. */
const MIGRATION_LOCK = 7_221_950;

const CREATE_MIGRATIONS_TABLE = `
  CREATE TABLE IF NOT EXISTS _prisma_migrations (
    id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL, finished_at timestamptz, migration_name varchar(255) NOT NULL,
    logs text, rolled_back_at timestamptz, started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0
  )`;

/**
 * Applies the migrations of `directory` (`<name>/migration.sql`, in the order of their names) that the database has
 * not had, each in a transaction of its own, and returns their names. The bookkeeping is Prisma's own table, so its
 * tools can read it. Throws a StartError when trying again would not help. Any number of processes may call this at once: an advisory lock lets one through at a time.
 * docs/adr/0001 says why Prisma's engine does not do it.
 */
export async function migrate(databaseUrl: string, directory: string): Promise<string[]> {
  const { client, close } = await openSession(databaseUrl, { statementMs: 0, idleInTransactionMs: 0 });
  try {
    await client.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    await client.query(CREATE_MIGRATIONS_TABLE);
    const applied = await readApplied(client);
    const names: string[] = [];
    for (const { name, sql } of await readMigrations(directory)) {
      const checksum = createHash('sha256').update(sql).digest('hex');
      const known = applied.get(name);
      if (known === undefined) {
        await apply(client, { name, sql, checksum });
        names.push(name);
      } else if (known !== checksum) {
        throw new StartError(
          `migration ${name} was changed after it had been applied to this database: run the version of the program that ` +
            'applied it, or start with an empty database (for the embedded one, delete DATA_DIR/postgres)',
        );
      }
    }
    return names;
  } finally {
    // Ending the connection also releases the lock.
    await close();
  }
}

type Migration = { readonly name: string; readonly sql: string };

async function readMigrations(directory: string): Promise<Migration[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return Promise.all(
    names.sort().map(async (name) => ({ name, sql: await readFile(`${directory}/${name}/migration.sql`, 'utf8') })),
  );
}

async function readApplied(client: pg.Client): Promise<Map<string, string>> {
  const { rows } = await client.query<{ name: string; checksum: string }>(
    'SELECT migration_name AS name, checksum FROM _prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL',
  );
  return new Map(rows.map((row) => [row.name, row.checksum]));
}

async function apply(client: pg.Client, migration: Migration & { readonly checksum: string }): Promise<void> {
  await client.query('BEGIN');
  try {
    await client.query(migration.sql);
    await client.query(
      'INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, applied_steps_count) VALUES ($1, $2, now(), $3, 1)',
      [randomUUID(), migration.checksum, migration.name],
    );
    await client.query('COMMIT');
  } catch (error) {
    if (isTransient(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(`migration ${migration.name} failed: ${reason}`, { cause: error });
  }
}
