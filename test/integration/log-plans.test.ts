import { formatPrismaCursor } from '@pothos/plugin-prisma';
import { PrismaPg } from '@prisma/adapter-pg';
import type { Pool } from 'pg';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seedLog } from '../../bench/log-seed.ts';
import { createCpuShares, createRateLimit } from '../../src/auth/quota.ts';
import { FairReads } from '../../src/delivery-log/fair-reads.ts';
import { LiveLog } from '../../src/delivery-log/live-log.ts';
import { PrismaClient } from '../../src/generated/prisma/client.ts';
import { InFlight } from '../../src/lib/in-flight.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { createGraphql, type Graphql } from '../../src/server/graphql.ts';
import { createOperationMetrics } from '../../src/server/plugins/metrics.ts';
import { ADMIN_KEY, type Api, post, SETTINGS, startApi } from '../support/graphql-api.ts';
import { createRetentionDatabase, DAY_MS, type RetentionDatabase } from '../support/retention-database.ts';
import { waitFor } from '../support/wait-for.ts';

const ROWS = 100_000;
const DAYS = 12;
/**
 * The latest noon (UTC), so that the partition of the newest day has half a day of rows. Shortly after midnight it would
 * have few rows, and Postgres would be right to scan it.
 */
const NOW = Math.floor(Date.now() / DAY_MS - 0.5) * DAY_MS + DAY_MS / 2;
/** Limits of the rows and blocks that a page of 50 reads from tables and indexes: a fraction of one tenant's rows. */
const MAX_ROWS = 2_000;
const MAX_BUFFERS = 2_000;
/** A page without an index: 2 % of the latest attempts match, so few rows are enough. */
const COSTLY = { name: 'failures of all tenants', times: 2 };

type Statement = { readonly query: string; readonly params: string };
type Plan = {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Shared Hit Blocks': number;
  readonly 'Shared Read Blocks': number;
  readonly Plans?: readonly Plan[];
};

let database: RetentionDatabase;
let api: Api;
let prisma: PrismaClient;
let graphql: Graphql;
let statements: Statement[] = [];
let onStatement: () => void = () => undefined;
const ids = { big: '', rare: '', small: '', delivery: '', attempt: '', event: '' };

beforeAll(async () => {
  database = await createRetentionDatabase();
  for (let day = DAYS; day > 0; day -= 4) await database.createPartitions(NOW - day * DAY_MS);
  const { pool } = database;
  await seedLog((sql, values) => pool.query(sql, values), { rows: ROWS, days: DAYS, nowMs: NOW });
  await pool.query(`INSERT INTO rejected_events (id, tenant, subject, reason, message, size_bytes, created_at)
    SELECT id, tenant, 'x', CASE WHEN event_type = 'audit.exported' THEN 'TOO_LARGE' ELSE 'INVALID_JSON' END::rejection_reason,
      'no', 1, created_at FROM deliveries ORDER BY id DESC LIMIT 30000`);
  await pool.query(`INSERT INTO event_types (name) VALUES ('order.paid'), ('ticket.opened'), ('no.such')`);
  await analyzeAllRows(pool);
  for (const [name, tenant, order] of [
    ['big', 'big', 'DESC'],
    ['rare', 'big', 'ASC'],
    ['small', 'small-7', 'DESC'],
  ] as const) {
    const { rows } = await pool.query<{ id: string }>(
      `SELECT subscription_id AS id FROM deliveries WHERE tenant = $1 GROUP BY 1 ORDER BY count(*) ${order} LIMIT 1`,
      [tenant],
    );
    ids[name] = rows[0]?.id ?? '';
  }
  for (const [name, table] of [
    ['delivery', 'deliveries'],
    ['attempt', 'attempts'],
  ] as const) {
    const { rows } = await pool.query<{ id: string }>(`SELECT id FROM ${table} OFFSET 5000 LIMIT 1`);
    ids[name] = rows[0]?.id ?? '';
  }
  const { rows: events } = await pool.query<{ id: string }>(
    `SELECT event_id AS id FROM events WHERE tenant = 'big' ORDER BY id OFFSET 5000 LIMIT 1`,
  );
  ids.event = events[0]?.id ?? '';
  await pool.query(
    `INSERT INTO signing_secrets (id, subscription_id, encrypted_secret) SELECT unnest($1::uuid[]), $2, 'sealed'`,
    [[uuid7(NOW - DAYS * DAY_MS), uuid7(NOW - DAY_MS)], ids.big],
  );
  api = await startApi(database.url);
  const logging = new PrismaClient({
    // The sessions of this pool have the settings of the program.
    adapter: new PrismaPg(api.database.readPool, { schema: 'public' }),
    log: [{ level: 'query', emit: 'event' }],
  });
  logging.$on('query', (statement) => {
    statements.push(statement);
    onStatement();
  });
  prisma = logging;
  const { credentials, feed, log } = api;
  const recording = { ...api.database, prisma, readPool: recorded(api.database.readPool) };
  const liveLog = new LiveLog({ feed, database: recording, reads: new FairReads(), log });
  const services = { ...api.services, liveLog, database: recording };
  graphql = createGraphql({
    services,
    credentials,
    log,
    settings: SETTINGS,
    stopping: new AbortController().signal,
    takeOperation: createRateLimit(SETTINGS.rateLimit),
    cpuShares: createCpuShares(),
    operations: new InFlight(),
    operationMetrics: createOperationMetrics(new Registry()),
  });
});
afterAll(async () => {
  await prisma.$disconnect();
  await api.stop();
  await database.drop();
});

/** Returns the pool with its statements recorded together with those of Prisma. */
function recorded(pool: Pool): Pool {
  const query = async (text: string, values: unknown[] = []) => {
    const result: unknown = await pool.query(text, values);
    statements.push({ query: text, params: JSON.stringify(values) });
    return result;
  };
  // `as`: the program calls it with these arguments only.
  return new Proxy(pool, { get: (target, name) => (name === 'query' ? query : Reflect.get(target, name)) as unknown });
}

/** Collects statistics of all rows, now and in autovacuum: with statistics of a sample, plans differ between runs. */
async function analyzeAllRows(pool: RetentionDatabase['pool']): Promise<void> {
  await pool.query(`DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET default_statistics_target = 400', current_database());
  END $$`);
  const client = await pool.connect();
  await client.query('SET default_statistics_target = 400');
  await client.query('VACUUM ANALYZE');
  client.release();
}

const past = { from: new Date(NOW - 7 * DAY_MS), to: new Date(NOW - 6.9 * DAY_MS) };
const FILTERS: Readonly<Record<string, () => Record<string, unknown>>> = {
  'no condition': () => ({}),
  'a big tenant': () => ({ tenant: 'big' }),
  'a small tenant': () => ({ tenant: 'small-7' }),
  'an unknown tenant': () => ({ tenant: 'nobody' }),
  'a common type': () => ({ tenant: 'big', eventTypes: ['order.paid'] }),
  'a rare type': () => ({ tenant: 'big', eventTypes: ['audit.exported'] }),
  'a rare type, of all tenants': () => ({ eventTypes: ['audit.exported'] }),
  'a prefix': () => ({ tenant: 'big', eventTypes: ['conversation.*'] }),
  'a rare prefix': () => ({ tenant: 'big', eventTypes: ['audit.*'] }),
  'types and prefixes': () => ({ tenant: 'big', eventTypes: ['audit.*', 'order.paid', 'ticket.opened'] }),
  'a time in the past': () => ({ tenant: 'big', ...past }),
  'a time in the past, of all tenants': () => ({ ...past, to: new Date(NOW - 5 * DAY_MS) }),
  'a minute in the past': () => ({ tenant: 'big', from: past.from, to: new Date(+past.from + 60_000) }),
  'up to a time in the past': () => ({ tenant: 'big', to: past.to }),
  'before everything': () => ({ tenant: 'big', to: new Date(NOW - 30 * DAY_MS) }),
  'the last minute': () => ({ tenant: 'big', from: new Date(NOW - 60_000) }),
};
const LOG_FILTERS: typeof FILTERS = {
  ...FILTERS,
  ids: () => ({ ids: [ids.delivery, ids.attempt] }),
  'ids and codes': () => ({ ids: [ids.delivery, ids.attempt], statusCodes: [{ from: 500, to: 599 }] }),
  'ids of another tenant': () => ({ tenant: 'nobody', ids: [ids.delivery, ids.attempt] }),
  'a subscription': () => ({ subscriptionIds: [ids.big] }),
  'a small subscription': () => ({ subscriptionIds: [ids.small] }),
  'a subscription of another tenant': () => ({ tenant: 'mid-0', subscriptionIds: [ids.big] }),
  'a subscription of another tenant, failures': () => ({
    tenant: 'mid-0',
    subscriptionIds: [ids.big],
    statusCodes: [{ from: 500, to: 599 }],
  }),
  'a subscription in the past': () => ({ subscriptionIds: [ids.big], ...past }),
  'the last minute of a subscription': () => ({ subscriptionIds: [ids.big], from: new Date(NOW - 60_000) }),
  'a small subscription of a big tenant': () => ({ tenant: 'big', subscriptionIds: [ids.rare] }),
  'two subscriptions': () => ({ tenant: 'big', subscriptionIds: [ids.big, ids.small] }),
  successes: () => ({ tenant: 'big', statuses: ['SUCCESS'] }),
  failures: () => ({ tenant: 'big', statuses: ['FAILURE'] }),
  'failures of all tenants': () => ({ statuses: ['FAILURE'] }),
  'failures of a subscription': () => ({ subscriptionIds: [ids.big], statuses: ['FAILURE'] }),
  'failures in the past': () => ({ tenant: 'big', statuses: ['FAILURE'], ...past }),
  'pending deliveries': () => ({ tenant: 'big', statuses: ['PENDING'] }),
  'pending deliveries of all tenants': () => ({ statuses: ['PENDING'] }),
  'pending deliveries of a subscription': () => ({ subscriptionIds: [ids.big], statuses: ['PENDING'] }),
  'pending and failed deliveries': () => ({ tenant: 'big', statuses: ['PENDING', 'FAILURE'] }),
  'cancelled deliveries': () => ({ tenant: 'big', statuses: ['CANCELLED'] }),
  'every success': () => ({ tenant: 'big', statusCodes: [{ from: 200, to: 299 }] }),
  'every success of all tenants': () => ({ statusCodes: [{ from: 200, to: 299 }] }),
  'every success of a subscription': () => ({ subscriptionIds: [ids.big], statusCodes: [{ from: 200, to: 299 }] }),
  'every success of a small tenant': () => ({ tenant: 'small-7', statusCodes: [{ from: 200, to: 299 }] }),
  'every success in the past': () => ({ tenant: 'big', statusCodes: [{ from: 200, to: 299 }], ...past }),
  'every success of a rare type': () => ({
    tenant: 'big',
    eventTypes: ['audit.exported'],
    statusCodes: [{ from: 200, to: 299 }],
  }),
  'every answer': () => ({ tenant: 'big', statusCodes: [{ from: 100, to: 599 }] }),
  'successes with any answer': () => ({
    tenant: 'big',
    statuses: ['SUCCESS'],
    statusCodes: [{ from: 100, to: 599 }],
  }),
  'a rare success': () => ({ tenant: 'big', statusCodes: [{ from: 201, to: 201 }] }),
  'a rare success of a subscription': () => ({ subscriptionIds: [ids.big], statusCodes: [{ from: 201, to: 201 }] }),
  'server errors': () => ({ tenant: 'big', statusCodes: [{ from: 500, to: 599 }] }),
  'a code that no attempt has': () => ({ tenant: 'big', statusCodes: [{ from: 404, to: 404 }] }),
  'codes that no attempt has': () => ({
    tenant: 'big',
    statusCodes: [
      { from: 404, to: 404 },
      { from: 410, to: 410 },
    ],
  }),
  'a common reason': () => ({ tenant: 'big', failureReasons: ['TIMEOUT'] }),
  'a rare reason': () => ({ tenant: 'big', failureReasons: ['TLS_FAILURE'] }),
  'a rare reason, of all tenants': () => ({ failureReasons: ['TLS_FAILURE'] }),
  'a rare reason of a subscription': () => ({ subscriptionIds: [ids.big], failureReasons: ['TLS_FAILURE'] }),
  'a rare type that failed': () => ({ tenant: 'big', eventTypes: ['audit.exported'], statuses: ['FAILURE'] }),
};
const ATTEMPT_FILTERS: typeof FILTERS = {
  ...LOG_FILTERS,
  'slow attempts': () => ({ tenant: 'big', minResponseTimeMs: 1_000 }),
  'rare slow attempts': () => ({ tenant: 'big', minResponseTimeMs: 10_000 }),
  'a response time that no attempt has': () => ({ tenant: 'big', minResponseTimeMs: 60_000 }),
  'slow attempts of a small tenant': () => ({ tenant: 'small-7', minResponseTimeMs: 1_000 }),
  'slow attempts of a subscription': () => ({ subscriptionIds: [ids.big], minResponseTimeMs: 10_000 }),
  'slow attempts in the past': () => ({ tenant: 'big', minResponseTimeMs: 1_000, ...past }),
  'first attempts': () => ({ tenant: 'big', attemptNumbers: [1] }),
  retries: () => ({ tenant: 'big', attemptNumbers: [2, 3] }),
  'rare retries': () => ({ tenant: 'big', attemptNumbers: [10, 11] }),
  'an attempt number that no attempt has': () => ({ tenant: 'big', attemptNumbers: [30] }),
  'retries of a subscription': () => ({ subscriptionIds: [ids.big], attemptNumbers: [2] }),
  'slow retries': () => ({ tenant: 'big', attemptNumbers: [2], minResponseTimeMs: 1_000 }),
};
const DELIVERY_FILTERS: typeof FILTERS = {
  ...LOG_FILTERS,
  'an event': () => ({ tenant: 'big', eventIds: [ids.event] }),
  'two events, failures': () => ({ tenant: 'big', eventIds: [ids.event, 'x'], statuses: ['FAILURE'] }),
  'an event, server errors': () => ({ tenant: 'big', eventIds: [ids.event], statusCodes: [{ from: 500, to: 599 }] }),
  'an event of another tenant': () => ({ tenant: 'mid-0', eventIds: [ids.event] }),
  'deliveries in back-off': () => ({ tenant: 'big', waitingFor: ['BACKOFF'] }),
  'deliveries that wait for the circuit': () => ({ tenant: 'big', waitingFor: ['CIRCUIT_OPEN'] }),
  'deliveries in back-off of a subscription': () => ({
    tenant: 'big',
    subscriptionIds: [ids.big],
    waitingFor: ['BACKOFF'],
  }),
  'deliveries in back-off of all tenants': () => ({ waitingFor: ['BACKOFF', 'RETRY_AFTER'] }),
};
const FILTERS_OF: Readonly<Record<'deliveryLog' | 'deliveries', typeof FILTERS>> = {
  deliveryLog: ATTEMPT_FILTERS,
  deliveries: DELIVERY_FILTERS,
};
const EVENT_FILTERS: typeof FILTERS = {
  ...FILTERS,
  ids: () => ({ tenant: 'big', ids: [ids.event, 'x'] }),
  'ids of another tenant': () => ({ tenant: 'mid-0', ids: [ids.event] }),
};
const REJECTION_FILTERS: typeof FILTERS = {
  'no condition': () => ({}),
  'a tenant': () => ({ tenant: 'big' }),
  'a small tenant': () => ({ tenant: 'small-7' }),
  'a rare reason': () => ({ tenant: 'big', reasons: ['TOO_LARGE'] }),
  'a rare reason, of all tenants': () => ({ reasons: ['TOO_LARGE'] }),
  'before everything': () => ({ tenant: 'big', to: new Date(NOW - 30 * DAY_MS) }),
};

const FIELDS = {
  deliveryLog: { type: 'DeliveryFilter', filters: ATTEMPT_FILTERS },
  deliveries: { type: 'DeliveryFilter', filters: DELIVERY_FILTERS },
  events: { type: 'EventFilter', filters: EVENT_FILTERS },
  rejectedEvents: { type: 'RejectedEventFilter', filters: REJECTION_FILTERS },
} as const;

/** Starts of pages: at the newest row, or in the middle of the log in either direction. */
const MIDDLE = formatPrismaCursor({ id: uuid7(NOW - (DAYS / 2) * DAY_MS) }, 'id');
const PAGES = [{ first: 50 }, { first: 50, after: MIDDLE }, { last: 50, before: MIDDLE }];

/** The SQL that Prisma sends for a page. */
async function statementsOf(field: keyof typeof FIELDS, variables: object): Promise<Statement[]> {
  statements = [];
  const query = `query ($filter: ${FIELDS[field].type}, $first: Int, $after: String, $last: Int, $before: String) {
    ${field}(filter: $filter, first: $first, after: $after, last: $last, before: $before) {
      nodes { id } pageInfo { hasNextPage } } }`;
  const { errors } = await post(graphql, JSON.stringify({ query, variables }));
  expect(errors).toBeUndefined();
  // Prisma reports a statement after it has returned the rows.
  await new Promise(setImmediate);
  return statements;
}

async function explain({ query, params }: Statement): Promise<Plan> {
  const { rows } = await api.database.readPool.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
    `EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ${query}`,
    JSON.parse(params) as unknown[],
  );
  const [row] = rows;
  if (row === undefined) throw new Error('there is no plan');
  return row['QUERY PLAN'][0].Plan;
}

function rowsRead(plan: Plan): number {
  const own = (plan['Actual Rows'] + (plan['Rows Removed by Filter'] ?? 0)) * plan['Actual Loops'];
  return (plan['Node Type'].includes('Scan') ? own : 0) + nodesOf(plan).reduce((sum, node) => sum + rowsRead(node), 0);
}

function nodesOf(plan: Plan): readonly Plan[] {
  return plan.Plans ?? [];
}

/** Tables with one row per subscription, or at most 2,000 rows: Postgres is right to scan them for a page. */
const SMALL_TABLES = ['subscription_states', 'event_types', 'signing_secrets'];

/** The scanned tables that have rows; an empty partition has no better plan. */
function scannedTables(plan: Plan): string[] {
  const isSmall = SMALL_TABLES.includes(plan['Relation Name'] ?? '');
  const isScan = plan['Node Type'] === 'Seq Scan' && rowsRead(plan) > 0 && !isSmall;
  return [...(isScan ? [plan['Relation Name'] ?? ''] : []), ...nodesOf(plan).flatMap(scannedTables)];
}

async function expectToReadLittle(sent: readonly Statement[], times: number): Promise<void> {
  expect(sent.length).toBeGreaterThan(0);
  const plans = await Promise.all(sent.map(explain));
  expect(plans.flatMap(scannedTables)).toEqual([]);
  const total = (read: (plan: Plan) => number) => plans.reduce((sum, plan) => sum + read(plan), 0);
  expect(total(rowsRead)).toBeLessThanOrEqual(times * MAX_ROWS);
  const buffers = total((plan) => plan['Shared Hit Blocks'] + plan['Shared Read Blocks']);
  expect(buffers).toBeLessThanOrEqual(times * MAX_BUFFERS);
}

describe.each(['deliveryLog', 'deliveries', 'events', 'rejectedEvents'] as const)('%s', (field) => {
  test.each(Object.entries(FIELDS[field].filters))('the filter "%s" reads little', async (name, filterOf) => {
    for (const page of PAGES) {
      const sent = await statementsOf(field, { filter: filterOf(), ...page });
      await expectToReadLittle(sent, name === COSTLY.name ? COSTLY.times : 1);
    }
  });
});

describe.each(['deliveryLog', 'deliveries'] as const)('%s of a webhook subscription', (field) => {
  test.each(Object.entries(FILTERS_OF[field]))('the filter "%s" reads little', async (_name, filterOf) => {
    statements = [];
    const query = `query ($id: ID!, $filter: DeliveryFilter) {
      webhookSubscription(id: $id) { ${field}(filter: $filter) { nodes { id } } } }`;
    const { errors } = await post(graphql, JSON.stringify({ query, variables: { id: ids.big, filter: filterOf() } }));
    expect(errors).toBeUndefined();
    await new Promise(setImmediate);
    await expectToReadLittle(statements, 1);
  });
});

/** Returns the SQL for a client that reconnects to the live log. */
async function catchUpStatements(filter: object, after: string): Promise<Statement[]> {
  statements = [];
  const query =
    'subscription ($filter: DeliveryFilter, $after: String) { deliveryLog(filter: $filter, after: $after) { id } }';
  const response = await graphql.fetch('http://test/graphql', {
    method: 'POST',
    body: JSON.stringify({ query, variables: { filter, after } }),
    headers: { 'content-type': 'application/json', accept: 'text/event-stream', authorization: `Bearer ${ADMIN_KEY}` },
  });
  // The server reads missed attempts when the client reads the stream.
  if (response.body === null) throw new Error('there is no stream');
  const reader = response.body.getReader();
  const reads = Promise.all([reader.read(), reader.read()]);
  await waitFor(() => statements.some((sent) => sent.query.includes('"attempts"')), { what: 'the catch-up' });
  await reader.cancel();
  await reads;
  return statements;
}

describe('a client that reconnects to the live log', () => {
  test.each(Object.entries(ATTEMPT_FILTERS))('causes few reads with the filter "%s"', async (name, filterOf) => {
    // These pages have 200 rows, the others 50.
    await expectToReadLittle(await catchUpStatements(filterOf(), MIDDLE), name === COSTLY.name ? 4 * COSTLY.times : 4);
  });
});

test.each([
  ['{ events(filter: { tenant: "big" }) { nodes { sizeBytes summary { success } } } }', 2],
  // Counts up to 1,000 deliveries of each of 50 subscriptions.
  ['{ webhookSubscriptions(filter: { tenant: "big" }) { nodes { health { pendingCount } } } }', 3],
  // Searches the newest 1,000 attempts for each of two secrets.
  ['{ webhookSubscriptions(filter: { tenant: "big" }) { nodes { secrets { usage { attemptCount } } } } }', 2],
  ['{ webhookSubscriptions(filter: { circuitStates: [OPEN] }) { nodes { id } } }', 2],
  ['{ webhookSubscriptions(filter: { failing: true }) { nodes { id } } }', 2],
  ['{ webhookSubscriptions(filter: { deactivationReasons: [GONE, FAILING] }) { nodes { id } } }', 1],
  ['{ observedEventTypes }', 1],
  ['{ observedEventTypes(days: 30) }', 1],
  ['{ observedEventTypes(tenant: "small-7") }', 1],
  [
    '{ eventTypes { nodes { subscriptionCount(tenant: "big") lastEventAt(tenant: "big") example(tenant: "big") { id } } } }',
    1,
  ],
  // Reads the latest 10,000 events.
  ['{ eventTypes { nodes { lastEventAt example { id } } } }', 6],
  [
    `mutation { putEventType(input: { name: "audit.exported", schema: { type: "object" }, dryRun: true }) { __typename } }`,
    2,
  ],
  // Searches the latest events for a thousand of the type.
  [
    `mutation { putEventType(input: { name: "order.paid", schema: { type: "object" }, dryRun: true }) { __typename } }`,
    8,
  ],
] as const)('%s reads little', async (query, times) => {
  statements = [];
  const { errors } = await post(graphql, JSON.stringify({ query }));
  expect(errors).toBeUndefined();
  await new Promise(setImmediate);
  await expectToReadLittle(statements, times);
});

test('the health of one subscription with a backlog reads little, although others have none', async () => {
  const { pool } = database;
  const id = uuid7(NOW);
  await pool.query(
    `INSERT INTO webhook_subscriptions (id, tenant, url, event_types) VALUES ($1, 'behind', 'x', '{a}')`,
    [id],
  );
  await pool.query(
    `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at)
     SELECT unnest($1::uuid[]), 'behind', $2, $2, 'a', now()`,
    [Array.from({ length: 10_000 }, (_, index) => uuid7(NOW - (index % DAYS) * DAY_MS)), id],
  );
  await pool.query('ANALYZE deliveries');
  statements = [];
  const query = '{ webhookSubscriptions(filter: { tenant: "behind" }) { nodes { health { pendingCount isExact } } } }';
  const { data } = await post(graphql, JSON.stringify({ query }));
  expect(data).toEqual({ webhookSubscriptions: { nodes: [{ health: { pendingCount: 1_000, isExact: false } }] } });
  await new Promise(setImmediate);
  await expectToReadLittle(statements, 2);
  await pool.query(`DELETE FROM deliveries WHERE tenant = 'behind'`);
  await pool.query('VACUUM ANALYZE deliveries');
});

describe("another tenant's subscription is not read", () => {
  const filter = 'filter: { tenant: "mid-0", subscriptionIds: [$id] }';
  const after = formatPrismaCursor({ id: uuid7(NOW - DAYS * DAY_MS) }, 'id');
  const times = `from: "${new Date(NOW - 60_000).toISOString()}", to: "${new Date(NOW).toISOString()}"`;

  const namingIt = () =>
    statements
      .filter(({ params }) => params.includes(ids.big))
      .map(({ query }) => /FROM "[^"]*"\."([^"]*)"/.exec(query)?.[1]);

  test.each([
    `query ($id: ID!) { deliveryLog(${filter}) { nodes { id } } }`,
    `query ($id: ID!) { deliveries(${filter}) { nodes { id } } }`,
    `query ($id: ID!) { deliveryStats(${filter}, ${times}, bucket: MINUTE) { total { from } } }`,
    `query ($id: ID!) { webhookSubscription(id: $id) {
      deliveryLog(filter: { tenant: "mid-0" }) { nodes { id } } deliveries(filter: { tenant: "mid-0" }) { nodes { id } } } }`,
    `mutation ($id: ID!) { startReplay(input: { ${filter}, dryRun: true }) { __typename } }`,
  ])('by %s', async (query) => {
    statements = [];
    const { errors } = await post(graphql, JSON.stringify({ query, variables: { id: ids.big } }));
    expect(errors).toBeUndefined();
    await new Promise(setImmediate);
    expect(namingIt()).toEqual(['webhook_subscriptions']);
  });

  test('by the live log', async () => {
    await catchUpStatements({ tenant: 'mid-0', subscriptionIds: [ids.big] }, after);
    expect(namingIt()).toEqual(['webhook_subscriptions']);
  });
});

test('a search starts no further statement after its client has disconnected', async () => {
  const filter = '{ tenant: "big", statuses: [PENDING], failureReasons: [HTTP_STATUS] }';
  const body = JSON.stringify({ query: `{ deliveries(first: 1, filter: ${filter}) { nodes { id } } }` });
  const search = async () => {
    expect(await post(graphql, body)).toMatchObject({ data: { deliveries: { nodes: [] } }, errors: undefined });
    await new Promise(setImmediate);
  };
  statements = [];
  await search();
  const whole = statements.length;
  expect(whole).toBeGreaterThan(8);
  const client = new AbortController();
  onStatement = () => {
    client.abort();
  };
  statements = [];
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${ADMIN_KEY}` };
  const request = { method: 'POST', headers, body, signal: client.signal };
  await Promise.resolve(graphql.fetch('http://test/graphql', request)).catch(() => undefined);
  onStatement = () => undefined;
  // A complete search takes as long as the aborted one would have taken.
  await search();
  const begun = statements.length - whole;
  expect(begun).toBeGreaterThan(0);
  expect(begun).toBeLessThanOrEqual(2);
});

describe('connections inside 50 rows', () => {
  type Page = { readonly nodes: readonly { readonly id: string }[]; readonly pageInfo: { readonly endCursor: string } };

  async function ask<T>(query: string, variables: object = {}): Promise<T | null | undefined> {
    statements = [];
    const { data, errors } = await post<T>(graphql, JSON.stringify({ query, variables }));
    expect(errors).toBeUndefined();
    return data;
  }

  test('are read with few statements, each with its own rows up to its own limit', async () => {
    const data = await ask<{ events: { nodes: { id: string; deliveries: Page }[] } }>(`{
      events(filter: { tenant: "big" }, first: 50) { nodes { id deliveries(first: 2) { nodes { id event { id }
        attempts(first: 3) { nodes { number delivery { id } } } subscription { id } } } } } }`);
    expect(data?.events.nodes.length).toBe(50);
    for (const { id, deliveries } of data?.events.nodes ?? []) {
      const { rows } = await database.pool.query<{ id: string }>(
        'SELECT id FROM deliveries WHERE event_id = $1 ORDER BY id DESC LIMIT 2',
        [id],
      );
      expect(deliveries.nodes).toMatchObject(
        rows.map((row) => ({ ...row, event: { id }, attempts: { nodes: [{ delivery: { id: row.id } }] } })),
      );
    }
    // Six levels; each except the first has one more statement for related rows.
    expect(statements.length).toBeLessThanOrEqual(8);
  });

  test('have pages, forwards and backwards', async () => {
    const { rows } = await database.pool.query<{ id: string; children: string[] }>(
      `SELECT event_id AS id, array_agg(id ORDER BY id DESC) AS children FROM deliveries
       GROUP BY 1 HAVING count(*) = 4 ORDER BY 1 DESC LIMIT 1`,
    );
    const [event] = rows;
    const read = async (page: string) => {
      const data = await ask<{ event: { deliveries: Page } }>(
        `query ($id: ID!) { event(id: $id) { deliveries(${page}) { nodes { id } pageInfo { endCursor } } } }`,
        { id: event?.id },
      );
      return data?.event.deliveries ?? { nodes: [], pageInfo: { endCursor: '' } };
    };
    const idsOf = ({ nodes }: Page) => nodes.map(({ id }) => id);
    const first = await read('first: 3');
    const cursor = first.pageInfo.endCursor;
    expect(idsOf(first)).toEqual(event?.children.slice(0, 3));
    expect(idsOf(await read(`first: 3, after: "${cursor}"`))).toEqual(event?.children.slice(3));
    expect(idsOf(await read(`last: 1, before: "${cursor}"`))).toEqual(event?.children.slice(1, 2));
    expect(idsOf(await read('last: 1'))).toEqual(event?.children.slice(3));
  });
});
