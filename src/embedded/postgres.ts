import type pg from 'pg';
import type { Logger } from 'pino';
import { StartError } from '../lib/start-error.ts';
import { openConnection } from '../postgres/connection.ts';
import { sqlStateOf } from '../postgres/errors.ts';

import type { EmbeddedServer } from './embedded-server.ts';
import { startOnFreePort } from './free-port.ts';
import { type PostgresCluster, prepareCluster } from './postgres-cluster.ts';
import { type Report, reportWhenSlow } from './report.ts';
import { stopOrphans } from './stop-orphans.ts';
import { SupervisedProcess } from './supervised-process.ts';

export type EmbeddedPostgresOptions = {
  readonly directory: string;
  readonly log: Logger;
  readonly report: Report;
  /** Once it aborts, a new database is still completed, and no server is started. */
  readonly signal?: AbortSignal;
};

const DATABASE = 'webhooks';
/** Ample: after a crash Postgres first replays what it had not yet written to its tables. */
const READY_TIMEOUT_MS = 120_000;

/**
 * A real Postgres on 127.0.0.1 with the empty or kept database `webhooks`. The caller holds the lock of the data
 * directory that `directory` is in: a server found running on it is taken for an orphan and stopped.
 */
export async function startEmbeddedPostgres({
  directory,
  log,
  report,
  signal,
}: EmbeddedPostgresOptions): Promise<EmbeddedServer> {
  const cluster = await prepareCluster({ directory, report });
  await stopOrphans({ name: 'Postgres', matches: cluster.isServer, signal: 'SIGINT', log });
  await cluster.removeMisleadingPidFile();
  signal?.throwIfAborted();
  const start = () => startOnFreePort((port) => startOn(port, cluster, log));
  const { server, port } = await reportWhenSlow(report, 'Starting the embedded database…', start);
  try {
    await createDatabaseIfAbsent(urlOf(cluster, port, 'postgres'));
  } catch (error) {
    await server.stop();
    throw error;
  }
  return { url: urlOf(cluster, port, DATABASE), stop: () => server.stop() };
}

async function startOn(port: number, cluster: PostgresCluster, log: Logger) {
  const [command = '', ...args] = cluster.commandLine(port);
  const server = new SupervisedProcess({
    name: 'Postgres',
    command,
    args,
    log,
    isReady: () => acceptsConnections(urlOf(cluster, port, 'postgres')),
    readyTimeoutMs: READY_TIMEOUT_MS,
    // The "fast" shutdown: ends the connections, writes everything down (postgres(1)).
    stopSignal: 'SIGINT',
    stopTimeoutMs: 10_000,
  });
  await server.start();
  return { server, port };
}

/** The superuser's address of one of the cluster's databases. */
export function urlOf(cluster: PostgresCluster, port: number, database: string): string {
  return `postgresql://postgres:${cluster.password}@127.0.0.1:${port}/${database}`;
}

/** Throws when the server is there but does not know the password: waiting would not help. */
export async function acceptsConnections(url: string): Promise<boolean> {
  try {
    await withClient(url, (client) => client.query('SELECT 1'));
    return true;
  } catch (error) {
    if (sqlStateOf(error) === '28P01') {
      throw new StartError('the embedded Postgres refuses the password kept in its directory', { cause: error });
    }
    return false;
  }
}

async function createDatabaseIfAbsent(url: string): Promise<void> {
  await withClient(url, async (client) => {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
  });
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const { client, close } = await openConnection({
    connectionString: url,
    connectionTimeoutMillis: 2_000,
    query_timeout: 10_000,
  });
  try {
    return await work(client);
  } finally {
    await close();
  }
}
