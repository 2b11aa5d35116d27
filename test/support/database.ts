import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { createDatabase, type Database } from '../../src/postgres/client.ts';

export type TestDatabase = { readonly url: string; drop(): Promise<void> };

/** Creates a migrated, empty database. Copying the template's files takes half the time of writing them to the WAL. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await runAsAdmin(`CREATE DATABASE ${name} TEMPLATE ${inject('templateDatabase')} STRATEGY file_copy`);
  const url = new URL(inject('postgres'));
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => runAsAdmin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

export type OpenTestDatabase = {
  readonly url: string;
  readonly database: Database;
  readonly close: () => Promise<void>;
};

type OpenOptions = Omit<Parameters<typeof createDatabase>[0], 'url' | 'onError'> & {
  readonly url?: string | undefined;
};

/** Opens a database as the engine does: the one at `url`, or a new one, which `close` drops. */
export async function openTestDatabase({ url, ...options }: OpenOptions = {}): Promise<OpenTestDatabase> {
  const created = url === undefined ? await createTestDatabase() : { url, drop: () => Promise.resolve() };
  const database = createDatabase({ ...options, url: created.url, onError: () => undefined });
  return {
    url: created.url,
    database,
    close: async () => {
      await database.close();
      await created.drop();
    },
  };
}

/** Copies a database in its current state, like a restored dump. Closes all connections to it, as Postgres requires. */
export async function copyTestDatabase(url: string): Promise<TestDatabase> {
  const copy = new URL(url);
  const original = copy.pathname.slice(1);
  copy.pathname = `/test_${randomUUID().replaceAll('-', '')}`;
  const name = copy.pathname.slice(1);
  await runAsAdmin(`SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '${original}'`);
  await runAsAdmin(`CREATE DATABASE ${name} TEMPLATE ${original}`);
  return { url: copy.href, drop: () => runAsAdmin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

/** Connections of all files of this process: opening one takes Postgres some 20 ms of CPU time. */
let admins: pg.Pool | undefined;

async function runAsAdmin(sql: string): Promise<void> {
  if (admins === undefined) {
    const connectionString = inject('postgres');
    admins = new pg.Pool({ connectionString, max: 2, idleTimeoutMillis: 0, allowExitOnIdle: true });
    admins.on('error', () => undefined);
  }
  await admins.query(sql);
}
