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
    /** The superuser's address of the Postgres that the integration tests share. */
    postgres: string;
    /** The folder of a cluster without any of our tables, which no server uses: tests copy it. */
    postgresCluster: string;
    /** The name of its migrated database, which nobody connects to: tests clone it. */
    templateDatabase: string;
    /** The path of the program. */
    natsServer: string;
    /** Whether dist/ has the console of these sources. */
    isBuilt: boolean;
  }
}

const SETTINGS = {
  // Several files run at once, each with programs of several pools.
  max_connections: '500',
  // No data outlives the run.
  fsync: 'off',
  // The program must not depend on any of these.
  timezone: 'America/St_Johns',
  datestyle: 'German',
  intervalstyle: 'sql_standard',
  bytea_output: 'escape',
};

const ROOT = join(import.meta.dirname, '../..');
const TEMPLATE = 'template';

/** Once for the whole run of the integration tests; returns the tear-down. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const log = pino({ level: 'warn' });
  const report = (text: string) => {
    process.stderr.write(`${text}\n`);
  };
  const compiling = compile();
  // Its error is reported once the servers are there, to be stopped.
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

/** Resolves with whether dist/ is built. */
async function compile(): Promise<boolean> {
  const [isComplete] = await Promise.all([isBuilt(), bundleProgram()]);
  if (!isComplete) await compileProgram();
  return isComplete;
}

async function prepareTemplate(url: string): Promise<void> {
  const template = new URL(url);
  template.pathname = `/${TEMPLATE}`;
  await createDatabase(url, TEMPLATE);
  await migrate(template.href, join(ROOT, 'prisma/migrations'));
  // So that each program that is started finds them made.
  await withConnection(template.href, (client) => createPartitions(client, { nowMs: Date.now(), retentionDays: 30 }));
}

async function createDatabase(url: string, name: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
}
