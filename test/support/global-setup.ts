import { join } from 'node:path';
import pg from 'pg';
import { pino } from 'pino';
import type { TestProject } from 'vitest/node';
import { findNatsServer } from '../../src/embedded/nats-binary.ts';
import { prepareCluster } from '../../src/embedded/postgres-cluster.ts';
import { withConnection } from '../../src/postgres/connection.ts';
import { migrate } from '../../src/postgres/migrate.ts';
import { createPartitions } from '../../src/retention/partitions.ts';
import { bundleProgram, compileProgram, isBuilt } from './compiled-program.ts';
import { startPostgresProcess } from './postgres.ts';
import { createTempFolder } from './temp-folder.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The superuser's URL of the Postgres that the integration tests share. */
    postgres: string;
    /** The folder of a cluster without the program's tables, for tests to copy. No server uses it. */
    postgresCluster: string;
    /** The name of a migrated database in `postgres`, for tests to copy. No client connects to it. */
    templateDatabase: string;
    /** The path of nats-server. */
    natsServer: string;
    /** Whether dist/ was built from the current sources, and so has the console. */
    isBuilt: boolean;
  }
}

const SETTINGS = {
  // Several test files run at once, each with programs that have several pools.
  max_connections: '500',
  // No data has to survive the run.
  fsync: 'off',
  // Unusual values, because the program must not depend on these settings.
  timezone: 'America/St_Johns',
  datestyle: 'German',
  intervalstyle: 'sql_standard',
  bytea_output: 'escape',
};

const ROOT = join(import.meta.dirname, '../..');
const TEMPLATE = 'template';

/** Runs once for all integration tests; returns the tear-down. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const log = pino({ level: 'warn' });
  const report = (text: string) => {
    process.stderr.write(`${text}\n`);
  };
  const compiling = compile();
  // `await compiling` below reports the error, after the tear-down exists.
  compiling.catch(() => undefined);
  const dataDir = join(ROOT, '.data');
  const natsServer = await findNatsServer({ dataDir, searchPath: process.env['PATH'] ?? '', log, report });
  const clusterTemplate = await createTempFolder();
  await prepareCluster({ directory: clusterTemplate.path, report });
  const postgres = await startPostgresProcess({ settings: SETTINGS, template: clusterTemplate.path });
  const tearDown = async () => {
    await postgres.remove();
    await clusterTemplate.remove();
  };
  try {
    await makeLoginCheap(postgres.url);
    await prepareTemplate(postgres.url);
    project.provide('postgres', postgres.url);
    project.provide('postgresCluster', clusterTemplate.path);
    project.provide('templateDatabase', TEMPLATE);
    project.provide('natsServer', natsServer);
    project.provide('isBuilt', await compiling);
    return tearDown;
  } catch (error) {
    await tearDown();
    throw error;
  }
}

/** Resolves with true if dist/ was already built completely, with the console. */
async function compile(): Promise<boolean> {
  const [isComplete] = await Promise.all([isBuilt(), bundleProgram()]);
  if (!isComplete) await compileProgram();
  return isComplete;
}

/** SCRAM's thousands of iterations take a fifth of the CPU time of a connection, and the tests open thousands. */
async function makeLoginCheap(url: string): Promise<void> {
  await withConnection(url, async (client) => {
    await client.query('SET scram_iterations = 1');
    await client.query(`ALTER ROLE postgres PASSWORD '${new URL(url).password}'`);
  });
}

async function prepareTemplate(url: string): Promise<void> {
  const template = new URL(url);
  template.pathname = `/${TEMPLATE}`;
  await createDatabase(url, TEMPLATE);
  await migrate(template.href, join(ROOT, 'prisma/migrations'));
  // Create the partitions here, so that no started program has to create them.
  await withConnection(template.href, (client) => createPartitions(client, { nowMs: Date.now(), retentionDays: 30 }));
}

async function createDatabase(url: string, name: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
}
