import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { findConditions } from '../../src/alerts/conditions.ts';
import { AlertJob, type AlertJobOptions } from '../../src/alerts/job.ts';
import { recordConditions } from '../../src/alerts/store.ts';
import { createDatabase, type Database } from '../../src/postgres/client.ts';
import { findPgBouncer, startPgBouncer } from '../support/pgbouncer.ts';
import { startReceiver } from '../support/receiver.ts';
import { createTempFolder } from '../support/temp-folder.ts';
import { startTestApp, startTestServices, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const throwError = (_kind: unknown, error: unknown) => {
  throw error;
};
const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;
const QUICK = { checkMs: 20, minIntervalMs: 50, retryMs: 30_000, maxRetryMs: 30_000 };

let services: TestServices;
let database: Database;

beforeAll(async () => {
  services = await startTestServices();
  database = createDatabase({ url: services.databaseUrl, onError: () => undefined });
});

afterAll(async () => {
  await database.close();
  await services.stop();
});

beforeEach(async () => {
  await services.query('DELETE FROM alerts');
  await services.query(`UPDATE alert_schedule SET checked_at = '-infinity', requested_at = '-infinity'`);
  await services.query('DELETE FROM webhook_subscriptions');
});

type Payload = {
  readonly data: { readonly alerts: readonly { kind: string; count: number; details: { host: string }[] }[] };
};

/** Starts one job for each of several processes, and runs `work` while they run. */
async function whileRunning(
  { url, count = 1, ...options }: Partial<AlertJobOptions> & { url: string; count?: number },
  work: (logLines: readonly string[]) => Promise<void>,
): Promise<void> {
  const logLines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void logLines.push(line) });
  const common = { secret: undefined, format: 'standard', route: {}, userAgent: 'test', limits: QUICK } as const;
  const sources = { database, streamWarnings: () => [], diskFolder: undefined };
  const jobs = Array.from({ length: count }, () => new AlertJob({ ...common, ...sources, log, url, ...options }));
  for (const job of jobs) job.start();
  try {
    await work(logLines);
  } finally {
    await Promise.all(jobs.map((job) => job.stop()));
  }
}

async function openCircuits(count: number): Promise<void> {
  await services.query(
    `INSERT INTO webhook_subscriptions (id, tenant, url, event_types)
     SELECT gen_random_uuid(), 'acme', 'https://hooks.example.com/secret-path', '{*}' FROM generate_series(1, $1)`,
    [count],
  );
  await services.query('UPDATE subscription_states SET opened_at = now()');
}

const payloadsOf = (requests: readonly { readonly rawBody: Buffer }[]) =>
  requests.map(({ rawBody }) => JSON.parse(rawBody.toString()) as Payload);

/** Waits until every job has checked the conditions several more times. */
async function waitForRounds(rounds = 5): Promise<void> {
  const seen = new Set<string>();
  await waitFor(
    async () => {
      const [row] = await services.query<{ at: string }>('SELECT checked_at::text AS at FROM alert_schedule');
      seen.add(row?.at ?? '');
      return seen.size > rounds;
    },
    { what: 'further rounds' },
  );
}

test('is checked and sent after a failover to a Postgres whose clock is behind', async () => {
  const receiver = await startReceiver();
  await openCircuits(1);
  await services.query(
    `UPDATE alert_schedule SET checked_at = now() + interval '1 hour', requested_at = now() + interval '1 hour'`,
  );
  await whileRunning({ url: receiver.url }, async () => {
    await receiver.waitForRequests(1);
  });
  await receiver.close();
});

test('a condition is sent once, by one process, and not again after a restart', async () => {
  const receiver = await startReceiver();
  await openCircuits(3);
  await whileRunning({ url: `${receiver.url}/alerts`, secret: SECRET, count: 3 }, async () => {
    await receiver.waitForRequests(1);
    await waitForRounds();
  });
  await whileRunning({ url: receiver.url }, () => waitForRounds());
  expect(receiver.requests).toHaveLength(1);
  const [request] = receiver.requests;
  const body = request?.rawBody.toString() ?? '';
  const headers = Object.fromEntries(
    Object.entries(request?.headers ?? {}).map(([name, value]) => [name, String(value)]),
  );
  expect(new Webhook(SECRET).verify(body, headers)).toMatchObject({
    data: { alerts: [{ kind: 'CIRCUIT_OPENED', count: 3, details: [{ host: 'hooks.example.com' }, {}, {}] }] },
  });
  expect(body).not.toContain('secret-path');
  await receiver.close();
});

const pgBouncer = await findPgBouncer();

test.skipIf(pgBouncer === undefined)(
  'a condition is sent by one of several processes behind PgBouncer in transaction mode, too',
  async () => {
    const pooler = await startPgBouncer(pgBouncer ?? '', {
      databaseUrl: services.databaseUrl,
      poolMode: 'transaction',
    });
    const pooled = createDatabase({ url: pooler.url, onError: () => undefined, behindPooler: true });
    const receiver = await startReceiver();
    await openCircuits(1);
    await whileRunning({ url: receiver.url, database: pooled, count: 3 }, async () => {
      await receiver.waitForRequests(1);
      await waitForRounds();
    });
    expect(receiver.requests).toHaveLength(1);
    await pooled.close();
    await pooler.stop();
    await receiver.close();
  },
);

test('a refused message is sent again under the same id, and the log does not contain the URL', async () => {
  const receiver = await startReceiver((_request, index) => ({ status: index === 0 ? 500 : 200 }));
  await openCircuits(1);
  const limits = { ...QUICK, retryMs: 20, maxRetryMs: 20 };
  await whileRunning({ url: `${receiver.url}/services/T0/B0/token`, limits }, async (logLines) => {
    await receiver.waitForRequests(2);
    await waitFor(() => logLines.some((line) => line.includes('alerts sent')), { what: 'the line in the log' });
    await waitForRounds();
    expect(logLines.join('')).toContain('alerts not sent; retrying');
    expect(logLines.join('')).not.toContain('token');
  });
  const ids = receiver.requests.map(({ headers }) => headers['webhook-id']);
  expect(ids).toEqual([ids[0], ids[0]]);
  await receiver.close();
});

test('a condition that ended more than an hour ago is sent when it returns; one that lasts is sent again after a day', async () => {
  const receiver = await startReceiver();
  await openCircuits(1);
  await whileRunning({ url: receiver.url }, async () => {
    await receiver.waitForRequests(1);
    await services.query('UPDATE subscription_states SET opened_at = NULL');
    await waitFor(async () => (await services.query('SELECT FROM alerts WHERE sent_at IS NOT NULL')).length === 1, {
      what: 'the sent alert',
    });
    await services.query(`UPDATE alerts SET seen_at = now() - interval '61 minutes'`);
    await waitFor(async () => (await services.query('SELECT FROM alerts')).length === 0, { what: 'no alert' });
    await services.query('UPDATE subscription_states SET opened_at = now()');
    await receiver.waitForRequests(2);
    await waitFor(async () => (await services.query('SELECT FROM alerts WHERE sent_at IS NOT NULL')).length === 1, {
      what: 'the alert that was sent again',
    });
    await services.query(
      `UPDATE alerts SET sent_at = now() - interval '25 hours', raised_at = now() - interval '25 hours'`,
    );
    await receiver.waitForRequests(3);
  });
  const ids = receiver.requests.map(({ headers }) => headers['webhook-id']);
  expect(new Set(ids).size).toBe(3);
  await receiver.close();
});

test('an unsent alert is kept while its condition holds, and dropped a day after the condition has ended', async () => {
  const condition = { kind: 'CIRCUIT_OPENED', subject: 's', detail: {} } as const;
  const read = () => services.query("SELECT try_count, raised_at < now() - interval '1 day' AS is_old FROM alerts");
  await recordConditions(database.pool, [condition]);
  await services.query(`UPDATE alerts SET try_count = 7, raised_at = now() - interval '25 hours'`);
  await recordConditions(database.pool, [condition]);
  expect(await read()).toEqual([{ try_count: 7, is_old: true }]);
  await services.query(`UPDATE alerts SET seen_at = now() - interval '25 hours'`);
  await recordConditions(database.pool, []);
  expect(await read()).toEqual([]);
});

test('deliveries are reported as overdue when one has been due for five minutes', async () => {
  await openCircuits(1);
  await services.query('UPDATE subscription_states SET opened_at = NULL');
  await services.query(
    `WITH event AS (
       INSERT INTO events (id, tenant, event_id, type, occurred_at, data)
       VALUES (gen_random_uuid(), 'acme', 'e', 'a', now(), '{}') RETURNING id
     )
     INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, enqueued_at, next_attempt_at)
     SELECT gen_random_uuid(), 'acme', s.id, event.id, 'a', now(), now() FROM webhook_subscriptions s, event`,
  );
  const find = () => findConditions({ database, streamWarnings: () => [], diskFolder: undefined }, throwError);
  const dueSince = (seconds: number) =>
    services.query(
      `UPDATE deliveries SET enqueued_at = now() - $1 * interval '1 s', next_attempt_at = now() - $1 * interval '1 s'`,
      [seconds],
    );
  await dueSince(240);
  expect(await find()).toEqual([]);
  await dueSince(360);
  expect(await find()).toMatchObject([{ kind: 'DELIVERIES_OVERDUE', subject: '', detail: { count: 1 } }]);
  await services.query('DELETE FROM deliveries');
});

test.runIf(process.getuid?.() === 0)(
  'a disk with less than a tenth of free space is reported as nearly full',
  async (context) => {
    const run = promisify(execFile);
    const folder = await createTempFolder();
    try {
      await run('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', folder.path]);
    } catch {
      await folder.remove();
      context.skip('this user may not mount a file system');
    }
    try {
      const find = () => findConditions({ database, streamWarnings: () => [], diskFolder: folder.path }, throwError);
      await writeFile(join(folder.path, 'half'), Buffer.alloc(2 * 1024 * 1024));
      expect(await find()).toEqual([]);
      await writeFile(join(folder.path, 'rest'), Buffer.alloc(1_800 * 1024));
      expect(await find()).toMatchObject([{ kind: 'DISK_NEARLY_FULL', subject: '', detail: { freeMegabytes: 0 } }]);
    } finally {
      await run('umount', [folder.path]);
      await folder.remove();
    }
  },
);

test('a condition that cannot be read is logged, and does not hide the others', async () => {
  const receiver = await startReceiver();
  await openCircuits(1);
  await whileRunning({ url: receiver.url, diskFolder: '/nowhere' }, async (logLines) => {
    await receiver.waitForRequests(1);
    const line = logLines.find((each) => each.includes('alert condition not checked'));
    expect(line).toContain('DISK_NEARLY_FULL');
  });
  expect(payloadsOf(receiver.requests)[0]?.data.alerts.map(({ kind }) => kind)).toEqual(['CIRCUIT_OPENED']);
  await receiver.close();
});

test('a deactivation is no condition after 12 hours, even if the subscription was changed since', async () => {
  const find = () => findConditions({ database, streamWarnings: () => [], diskFolder: undefined }, throwError);
  await openCircuits(1);
  await services.query(`UPDATE webhook_subscriptions SET is_active = false, deactivation_reason = 'FAILING'`);
  await services.query(
    `UPDATE matching_settings SET superseded_at = now() - interval '11 hours' WHERE superseded_at IS NOT NULL`,
  );
  await services.query(`UPDATE webhook_subscriptions SET event_types = '{order.*}', updated_at = now()`);
  const [row] = await services.query<{ since: Date }>(
    `SELECT superseded_at AS since FROM matching_settings JOIN webhook_subscriptions s ON s.id = subscription_id
     WHERE matching_settings.is_active`,
  );
  const since = row?.since.toISOString();
  expect(await find()).toMatchObject([{ kind: 'SUBSCRIPTION_DEACTIVATED', detail: { since, reason: 'FAILING' } }]);
  await services.query(`UPDATE matching_settings SET superseded_at = superseded_at - interval '2 hours'`);
  expect(await find()).toEqual([]);
});

test('several kinds of conditions are in one message', async () => {
  const receiver = await startReceiver();
  await openCircuits(2);
  await services.query(
    `UPDATE webhook_subscriptions SET is_active = false, deactivation_reason = 'GONE'
     WHERE id = (SELECT id FROM webhook_subscriptions LIMIT 1)`,
  );
  const streamWarnings = () => ['the stream EVENTS is 95 % full'];
  await whileRunning({ url: receiver.url, streamWarnings }, () => receiver.waitForRequests(1).then(() => undefined));
  const [payload] = payloadsOf(receiver.requests);
  expect(payload?.data.alerts.map(({ kind, count }) => [kind, count])).toEqual([
    ['CIRCUIT_OPENED', 1],
    ['SUBSCRIPTION_DEACTIVATED', 1],
    ['STREAM_NEARLY_FULL', 1],
  ]);
  await receiver.close();
});

test('the program sends rejected events to the webhook in the format of Slack', async () => {
  const receiver = await startReceiver();
  const env = { ALERT_WEBHOOK_URL: `${receiver.url}/slack`, ALERT_WEBHOOK_FORMAT: 'slack' };
  const first = await startTestApp(services);
  await services.publish('events.acme.broken', 'no JSON');
  await waitFor(async () => (await services.query('SELECT FROM rejected_events')).length === 1, {
    what: 'the rejected event',
  });
  await first.stop();
  const app = await startTestApp(services, { env });
  const [request] = await receiver.waitForRequests(1);
  expect(JSON.parse(request?.rawBody.toString() ?? '')).toEqual({
    text: expect.stringContaining('1 published message could not become events') as unknown,
  });
  await app.stop();
  await receiver.close();
});
