import { join } from 'node:path';
import pg from 'pg';
import { pino } from 'pino';
import type { TestProject } from 'vitest/node';
import { findNatsServer } from '../../src/embedded/nats-binary.ts';
import { prepareCluster } from '../../src/embedded/postgres-cluster.ts';
import { withConnection } from '../../src/postgres/connection.ts';
import { migrate } from '../../src/postgres/migrate.ts';
import { createPartitions } from '../../src/retention/partitions.ts';
import { compileProgram } from './compiled-program.ts';
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

/** Once for the whole run of the integration tests; returns the tear-down. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const log = pino({ level: 'warn' });
  const report = (text: string) => {
    process.stderr.write(`${text}\n`);
  };
  await compileProgram();
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
    const template = new URL(postgres.url);
    template.pathname = '/template';
    await createDatabase(postgres.url, 'template');
    await migrate(template.href, join(ROOT, 'prisma/migrations'));
    // So that each program that is started finds them made.
    await withConnection(template.href, (client) => createPartitions(client, { nowMs: Date.now(), retentionDays: 30 }));
    project.provide('postgres', postgres.url);
    project.provide('postgresCluster', clusterTemplate.path);
    project.provide('templateDatabase', 'template');
    project.provide('natsServer', natsServer);
    return tearDown;
  } catch (error) {
    await tearDown();
    throw error;
  }
}

async function createDatabase(url: string, name: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
}
