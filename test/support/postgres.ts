import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { acceptsConnections, urlOf } from '../../src/embedded/postgres.ts';
import type { PostgresBinaries } from '../../src/embedded/postgres-binaries.ts';
import { prepareCluster } from '../../src/embedded/postgres-cluster.ts';
import { migrate } from '../../src/postgres/migrate.ts';
import { findOwnPort } from './own-port.ts';
import { ServerProcess } from './server-process.ts';
import { createTempFolder } from './temp-folder.ts';

export type TestPostgres = {
  /** URL of a migrated database. */
  readonly url: string;
  /** Queries the database directly; rejects while the server is down. */
  readonly query: <T extends pg.QueryResultRow>(sql: string, values?: unknown[]) => Promise<T[]>;
  /** Sends SIGKILL; the server stays down until `start()`. */
  kill9(): Promise<void>;
  /** Fast shutdown; it stays down until `start()`. */
  terminate(): Promise<void>;
  /** Sends SIGSTOP to the server and each of its backends; `resume` sends SIGCONT. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Restarts the server after its end, with the same port and data. */
  start(): Promise<void>;
  /** Stops the server and deletes its data. */
  stop(): Promise<void>;
};

/** Settings by name, each passed to the server as `-c name=value`. */
type PostgresSettings = Readonly<Record<string, string>>;

type PostgresProcessOptions = {
  readonly settings?: PostgresSettings;
  readonly binaries?: PostgresBinaries;
  /** The folder of a cluster that no server uses, to copy instead of creating a new one. */
  readonly template?: string | undefined;
};

/** Starts a server on its own port, with a cluster in a temporary folder. */
export async function startPostgresProcess({ settings = {}, binaries, template }: PostgresProcessOptions = {}) {
  const folder = await createTempFolder();
  if (template !== undefined) await copyCluster(template, folder.path);
  const cluster = await prepareCluster({
    directory: folder.path,
    report: () => undefined,
    ...(binaries !== undefined && { binaries }),
  });
  const port = await findOwnPort();
  const url = urlOf(cluster, port, 'postgres');
  const server = new ServerProcess({
    commandLine: [
      ...cluster.commandLine(port),
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    stopSignal: 'SIGINT',
    isReady: () => acceptsConnections(url),
  });
  await server.start();
  const remove = async () => {
    await server.stop();
    await folder.remove();
  };
  return { url, server, remove };
}

/** Copies a cluster that no server uses to another folder; initdb takes seconds. */
export async function copyCluster(template: string, folder: string): Promise<void> {
  await promisify(execFile)('cp', ['-a', `${template}/.`, folder]);
}

/**
 * Starts a Postgres for one test, which may kill it; other tests share one (see database.ts). `template` is the cluster
 * of the global set-up; without it, a new cluster is created.
 */
export async function startTestPostgres(template?: string): Promise<TestPostgres> {
  const { url, server, remove } = await startPostgresProcess({ template });
  await migrate(url, join(import.meta.dirname, '../../prisma/migrations'));
  const pool = new pg.Pool({ connectionString: url, max: 2, options: '-c datestyle=ISO' });
  pool.on('error', () => undefined);
  return {
    url,
    query: async <T extends pg.QueryResultRow>(sql: string, values: unknown[] = []) =>
      (await pool.query<T>(sql, values)).rows,
    kill9: () => server.kill9(),
    terminate: () => server.stop(),
    pause: () => server.pause(),
    resume: () => server.resume(),
    start: () => server.start(),
    stop: async () => {
      await pool.end();
      await remove();
    },
  };
}
