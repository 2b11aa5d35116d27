import { dirname, join } from 'node:path';
import pg from 'pg';
import { pino } from 'pino';
import { afterEach, expect, it } from 'vitest';
import { RetentionJob } from '../../src/retention/job.ts';
import { findDebianProgram } from '../support/debian-program.ts';
import { startPostgresProcess } from '../support/postgres.ts';
import { startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';
import { expectCoreWorks } from './core-flow.ts';

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

const FOLDER = '/usr/lib/postgresql/15/bin';
const postgres = await findDebianProgram({ package: 'postgresql-15', program: 'postgres', folder: FOLDER });

it.skipIf(postgres === undefined)("the core works on Debian's Postgres 15, retention included", async () => {
  const bin = dirname(postgres ?? '');
  const binaries = { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres'), lib: bin, share: bin };
  const { url, remove } = await startPostgresProcess({
    settings: { timezone: 'Asia/Kathmandu', fsync: 'off' },
    binaries,
  });
  cleanUps.push(remove);
  const services = await startTestServices();
  cleanUps.push(() => services.stop());
  const app = await startTestApp({ databaseUrl: url, nats: services.nats });
  cleanUps.push(() => app.stop());
  const receiver = await startReceiver((_request, index) => ({ status: index === 0 ? 503 : 200 }));
  cleanUps.push(() => receiver.close());
  await expectCoreWorks({ apps: [app], publish: services.publish, receiver });

  const client = new pg.Client({ connectionString: url });
  await client.connect();
  cleanUps.push(() => client.end());
  await client.query(
    `CREATE TABLE events_20200101 PARTITION OF events
     FOR VALUES FROM ('016f5e66-e800-0000-0000-000000000000') TO ('016f638d-4400-0000-0000-000000000000')`,
  );
  const log = pino({ level: 'silent' });
  const job = new RetentionJob({
    databaseUrl: url,
    log,
    retentionDays: 30,
    maxPerSubscription: undefined,
    auditLogDays: 365,
  });
  cleanUps.push(() => job.stop());
  job.start();
  const isThere = async () =>
    (await client.query(`SELECT FROM pg_class WHERE relname = 'events_20200101'`)).rows.length > 0;
  await waitFor(async () => !(await isThere()), { what: 'the old partition to be dropped' });
  const { rows } = await client.query<{ version: string }>(`SELECT current_setting('server_version') AS version`);
  expect(rows[0]?.version).toMatch(/^15\./);
});
