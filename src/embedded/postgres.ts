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
  /** After it aborts, the creation of a new cluster is completed, but no server is started. */
  readonly signal?: AbortSignal;
};

const DATABASE = 'webhooks';
/** Generous, because Postgres replays its WAL after a crash before it accepts connections. */
const READY_TIMEOUT_MS = 120_000;

/**
 * Starts a Postgres on 127.0.0.1 with the database `webhooks`, which is created if it does not exist. The caller must hold
 * the lock of the data directory that contains `directory`: a server that already runs on `directory` is an orphaned
 * process and is stopped.
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
    // The "fast" shutdown: closes the connections and writes a checkpoint (postgres(1)).
    stopSignal: 'SIGINT',
    stopTimeoutMs: 10_000,
  });
  await server.start();
  return { server, port };
}

/** The URL of one of the cluster's databases, as the superuser. */
export function urlOf(cluster: PostgresCluster, port: number, database: string): string {
  return `postgresql://postgres:${cluster.password}@127.0.0.1:${port}/${database}`;
}

/** Throws a StartError if the server rejects the password, which a retry cannot fix. */
export async function acceptsConnections(url: string): Promise<boolean> {
  try {
    await withClient(url, (client) => client.query('SELECT 1'));
    return true;
  } catch (error) {
    if (sqlStateOf(error) === '28P01') {
      throw new StartError('the embedded Postgres rejects the password in the file "password" of its directory', {
        cause: error,
      });
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
