import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { createApiKey } from '../support/api-keys.ts';
import { type Receiver, type Respond, startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let app: TestApp;
let receiver: Receiver;
/** The response of the receiver. The default body is the event's id, which contains the tenant's canary. */
let answer: { status: number; body?: string } = { status: 200 };

beforeAll(async () => {
  services = await startTestServices();
  app = await startTestApp(services, { env: { RETRY_SCHEDULE: '1h' } });
  receiver = await startReceiver(({ headers }) => ({ body: String(headers['webhook-id']), ...answer }));
});
afterEach(() => {
  answer = { status: 200 };
});
afterAll(async () => {
  await app.stop();
  await receiver.close();
  await services.stop();
});

/** Whether the files of a stream of nats-server contain these bytes. */
async function isOnDisk(stream: string, text: string): Promise<boolean> {
  const folder = join(services.nats.folderOf(stream), 'msgs');
  const files = (await readdir(folder)).filter((name) => name.endsWith('.blk'));
  const contents = await Promise.all(files.map((name) => readFile(join(folder, name)).catch(() => Buffer.alloc(0))));
  return contents.some((content) => content.includes(text));
}

/** The names of all tables. Partitions are read through their parents. */
async function tableNames(): Promise<string[]> {
  const tables = await services.query<{ name: string }>(
    `SELECT table_name AS name FROM information_schema.tables t WHERE table_schema = 'public'
     AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = t.table_name::regclass) ORDER BY 1`,
  );
  return tables.map(({ name }) => name);
}

/** Returns the names of the tables with a row that contains one of the texts. */
async function tablesWith(...texts: readonly string[]): Promise<string[]> {
  // Data is bytea, whose text is hexadecimal.
  const patterns = texts.flatMap((text) => [`%${text}%`, `%${Buffer.from(text).toString('hex')}%`]);
  const found: string[] = [];
  for (const name of await tableNames()) {
    const rows = await services.query(`SELECT FROM ${name} t WHERE t::text LIKE ANY ($1::text[]) LIMIT 1`, [patterns]);
    if (rows.length > 0) found.push(name);
  }
  return found;
}

const erase = async (tenant: string) => {
  const { eraseTenant } = await app.graphql<{ eraseTenant: { erasure: { id: string } } }>(
    `mutation { eraseTenant(tenant: "${tenant}") { ... on EraseTenantPayload { erasure { id } } } }`,
  );
  return eraseTenant.erasure.id;
};

const roundsOf = async (id: string) =>
  (await services.query<{ rounds: number }>('SELECT round_count AS rounds FROM erasures WHERE id = $1', [id]))[0]
    ?.rounds;

/** Starts the second round now instead of five minutes later. */
async function complete(id: string): Promise<void> {
  await waitFor(async () => (await roundsOf(id)) === 1, { what: 'the first round' });
  await services.query('UPDATE erasures SET next_step_at = now() WHERE id = $1', [id]);
  await waitFor(async () => (await roundsOf(id)) === 2, { what: 'the second round' });
}

const CANARY = 'canary-of-gone';

/**
 * Tables that can be without a row of the tenant before the erasure: those of the installation, ids that are deleted after
 * two hours, attempts that move to attempt_counts, and the job's own table.
 */
const OTHER_TABLES = [
  ...['_prisma_migrations', 'alert_schedule', 'change_readers', 'event_types'],
  ...['changes', 'uncounted_attempts', 'erasures'],
];

/** Rows that otherwise appear only after a minute or a day. */
async function insertLateRows(tenant: string, subscriptionId: string): Promise<void> {
  await services.query(
    `INSERT INTO alerts (kind, subject, detail, raised_at, seen_at) VALUES ('CIRCUIT_OPENED', $1, '{}', now(), now())`,
    [subscriptionId],
  );
  await services.query(`INSERT INTO notice_limits (tenant, type, minute_from, count) VALUES ($1, 'a.b', now(), 1)`, [
    tenant,
  ]);
  await services.query(
    `INSERT INTO attempt_counts SELECT scope, date_trunc('hour', now()), 'a.b', 500, 'HTTP_STATUS', 1, 1
     FROM unnest($1::text[]) AS input (scope)`,
    [[subscriptionId, `tenant:${tenant}`]],
  );
}

test('all data of a tenant is erased from Postgres and JetStream, and no data of another tenant', async () => {
  answer = { status: 500 };
  const subscriptionIds: string[] = [];
  for (const tenant of ['gone', 'stays']) {
    const { id } = await app.subscribe({ tenant, url: receiver.url, description: `canary-of-${tenant} description` });
    await services.publish(`events.${tenant}.order.paid`, `{"of":"canary-of-${tenant}"}`, {
      'Event-Id': `canary-of-${tenant}`,
    });
    await services.publish(`events.${tenant}.order.paid`, `no JSON of canary-of-${tenant}`);
    await createApiKey(app, { scope: 'TENANT_WRITE', tenant, name: `key of ${tenant}` });
    await insertLateRows(tenant, id);
    subscriptionIds.push(id);
  }
  await receiver.waitForRequests(2);
  await waitFor(async () => (await services.query('SELECT FROM attempts')).length === 2, { what: 'the attempts' });
  await app.graphql('mutation { startReplay(input: { filter: { tenant: "gone" } }) { __typename } }');
  const rowsOf = () =>
    services.query(`SELECT to_jsonb(e) FROM events e WHERE tenant = 'stays' UNION ALL
      SELECT to_jsonb(d) FROM deliveries d WHERE tenant = 'stays' UNION ALL
      SELECT to_jsonb(a) FROM attempts a WHERE tenant = 'stays' UNION ALL
      SELECT to_jsonb(s) FROM webhook_subscriptions s WHERE tenant = 'stays'`);
  const others = await rowsOf();
  const [subscriptionId = ''] = subscriptionIds;
  expect(await isOnDisk('EVENTS', CANARY)).toBe(true);
  // Every table with rows of tenants has one of this tenant, so that the search after the erasure covers it.
  const expected = (await tableNames()).filter((name) => !OTHER_TABLES.includes(name));
  expect(await tablesWith('gone', subscriptionId)).toEqual(expect.arrayContaining(expected));

  const id = await erase('gone');
  expect(await erase('gone')).toBe(id);
  await waitFor(async () => (await roundsOf(id)) === 1, { what: 'the first round' });
  await services.publish('events.gone.order.paid', `{"late":"${CANARY}"}`);
  await waitFor(async () => (await services.query(`SELECT FROM events WHERE tenant = 'gone'`)).length === 1, {
    what: 'the late event',
  });
  await complete(id);

  // The ids of changed rows stay for two hours.
  const left = (await tablesWith('gone', subscriptionId)).filter((name) => name !== 'changes');
  expect(left).toEqual(['audit_log', 'erasures', 'tenants']);
  expect(await services.query(`SELECT mutation FROM audit_log WHERE tenant = 'gone'`)).toEqual([
    { mutation: 'eraseTenant' },
    { mutation: 'eraseTenant' },
  ]);
  expect(await services.waitingIn('EVENTS')).toBe(2);
  expect(await isOnDisk('EVENTS', CANARY)).toBe(false);
  expect(await isOnDisk('EVENTS', 'canary-of-stays')).toBe(true);
  expect(await rowsOf()).toEqual(others);
  const query = `{ erasure(id: "${id}") { status deletedRowCount deletedMessageCount remains completedAt } }`;
  const { erasure } = await app.graphql<{ erasure: Record<string, unknown> }>(query);
  expect(erasure).toMatchObject({ status: 'COMPLETED', deletedMessageCount: 3 });
  expect(erasure['completedAt']).not.toBeNull();
  expect(erasure['deletedRowCount']).toBeGreaterThan(10);

  // The name can be used again.
  answer = { status: 200 };
  const before = receiver.requests.length;
  await app.subscribe({ tenant: 'gone', url: receiver.url });
  await services.publish('events.gone.order.paid', '{}');
  await receiver.waitForRequests(before + 1);
});

test('another process continues an erasure whose process has exited', async () => {
  const nowMs = Date.now();
  const ids = Array.from({ length: 4_000 }, (_, index) => uuid7(nowMs - index));
  await services.query(
    `INSERT INTO events (id, tenant, event_id, type, occurred_at, data)
     SELECT id, 'large', id::text, 'a.b', now(), '{}' FROM unnest($1::uuid[]) AS input (id)`,
    [ids],
  );
  const count = async () => (await services.query(`SELECT FROM events WHERE tenant = 'large'`)).length;
  const id = await erase('large');
  await waitFor(async () => (await count()) < 4_000, { what: 'the first rows to be deleted' });
  await app.stop();
  expect(await roundsOf(id)).toBe(0);
  expect(await count()).toBeGreaterThan(0);
  app = await startTestApp(services, { env: { RETRY_SCHEDULE: '1h' } });
  await complete(id);
  expect(await count()).toBe(0);
});

test('a redacted event keeps its deliveries and attempts, and loses data and bodies everywhere', async () => {
  const secret = 'redact-this-text';
  const bodyOf = ({ headers }: Parameters<Respond>[0]) => (headers['webhook-id'] === 'e1' ? secret : 'fine');
  const succeeding = await startReceiver((request) => ({ status: 200, body: bodyOf(request) }));
  await app.subscribe({ tenant: 'red', url: succeeding.url });
  const failing = await startReceiver((request) => ({ status: 500, body: bodyOf(request) }));
  await app.subscribe({ tenant: 'red', url: failing.url });
  await services.publish('events.red.order.paid', `{"n":"${secret}"}`, { 'Event-Id': 'e1' });
  await services.publish('events.red.order.paid', `{"n":"other"}`, { 'Event-Id': 'e2' });
  await waitFor(async () => (await services.query(`SELECT FROM attempts WHERE tenant = 'red'`)).length === 4, {
    what: 'the attempts',
  });

  const FIELDS = `redactedAt data dataText deliveries(first: 3) { nodes { id status attempts(first: 3) { nodes { statusCode requestBody responseBody } } } }`;
  type Event = {
    redactedAt: string | null;
    data: unknown;
    deliveries: { nodes: { id: string; status: string; attempts: { nodes: Record<string, unknown>[] } }[] };
  };
  const { redactEvent } = await app.graphql<{ redactEvent: { event: Event } }>(
    `mutation { redactEvent(tenant: "red", id: "e1") { ... on RedactEventPayload { event { ${FIELDS} } } } }`,
  );
  const { event } = redactEvent;
  expect(event).toMatchObject({ data: null, dataText: 'null' });
  expect(event.redactedAt).not.toBeNull();
  expect(event.deliveries.nodes.map(({ status }) => status).toSorted()).toEqual(['CANCELLED', 'SUCCESS']);
  expect(
    event.deliveries.nodes.flatMap(({ attempts }) => attempts.nodes.map(({ statusCode }) => statusCode)).toSorted(),
  ).toEqual([200, 500]);
  expect(JSON.stringify(event)).not.toContain(secret);

  const [delivery] = event.deliveries.nodes;
  await services.query(`UPDATE deliveries SET status = 'FAILURE' WHERE id = $1`, [delivery?.id]);
  const { retryDelivery, startReplay } = await app.graphql<
    Record<'retryDelivery' | 'startReplay', Record<string, unknown>>
  >(
    `mutation { retryDelivery(id: "${delivery?.id ?? ''}") { __typename }
      startReplay(input: { filter: { tenant: "red" }, dryRun: true }) {
        ... on StartReplayPayload { replay { deliveryCount skippedCount } } } }`,
  );
  expect(retryDelivery).toEqual({ __typename: 'DeliveryNotRetryableError' });
  expect(startReplay).toEqual({ replay: { deliveryCount: 4, skippedCount: 2 } });

  await waitFor(async () => !(await isOnDisk('EVENTS', secret)), { what: 'the message to be erased' });
  expect(await isOnDisk('EVENTS', '"other"')).toBe(true);
  expect(await tablesWith(secret)).toEqual([]);
  await Promise.all([succeeding.close(), failing.close()]);
});
