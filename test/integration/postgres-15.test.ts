import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import pg from 'pg';
import { pino } from 'pino';
import { expect, it } from 'vitest';
import { RetentionJob } from '../../src/retention/job.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { expectCoreWorks } from '../support/core-flow.ts';
import { findDebianProgram } from '../support/debian-program.ts';
import { startPostgresProcess } from '../support/postgres.ts';
import { startReceiver } from '../support/receiver.ts';
import { createTempFolder } from '../support/temp-folder.ts';
import { startTestApp, startTestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

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
    firstInMs: 0,
  });
  cleanUps.push(() => job.stop());
  job.start();
  const isThere = async () =>
    (await client.query(`SELECT FROM pg_class WHERE relname = 'events_20200101'`)).rows.length > 0;
  await waitFor(async () => !(await isThere()), { what: 'the old partition to be dropped' });
  const { rows } = await client.query<{ version: string }>(`SELECT current_setting('server_version') AS version`);
  expect(rows[0]?.version).toMatch(/^15\./);

  const commands = { dump: join(bin, 'pg_dump'), restore: join(bin, 'pg_restore') };
  if (!existsSync(commands.dump) || !existsSync(commands.restore)) {
    process.stderr.write('skipped: pg_dump and pg_restore, which postgresql-client-15 has, are not installed\n');
    return;
  }
  const tables = ['events', 'deliveries', 'attempts', 'webhook_subscriptions', 'signing_secrets', 'audit_log'];
  const countsOf = async (databaseUrl: string) => {
    const other = new pg.Client({ connectionString: databaseUrl });
    await other.connect();
    const counts: Record<string, unknown> = {};
    for (const table of tables) counts[table] = (await other.query(`SELECT count(*) FROM ${table}`)).rows[0];
    await other.end();
    return counts;
  };
  await app.stop();
  const before = await countsOf(url);
  const folder = await createTempFolder();
  cleanUps.push(() => folder.remove());
  const file = join(folder.path, 'webhooks.dump');
  const run = promisify(execFile);
  // The commands of docs/backup.md.
  await run(commands.dump, ['--format=custom', `--file=${file}`, url]);
  await client.query('CREATE DATABASE webhooks_restored');
  const restored = new URL(url);
  restored.pathname = '/webhooks_restored';
  await run(commands.restore, ['--no-owner', `--dbname=${restored.href}`, file]);
  expect(await countsOf(restored.href)).toEqual(before);
  const again = await startTestApp({ databaseUrl: restored.href, nats: services.nats });
  cleanUps.push(() => again.stop());
  const sent = receiver.requests.length;
  await services.publish('events.acme.after.restore', '{}');
  await receiver.waitForRequests(sent + 1);
});
