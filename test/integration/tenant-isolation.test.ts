import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import {
  buildSchema,
  type GraphQLField,
  GraphQLObjectType,
  getNamedType,
  isLeafType,
  isObjectType,
  isRequiredArgument,
} from 'graphql';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { createApiKey } from '../support/api-keys.ts';
import {
  type Operation,
  type OperationResponse,
  openEvents,
  openSocket,
  postOperation,
} from '../support/graphql-client.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

/** Ids and names for queries: those of another tenant, or unknown ones of the same form. */
type Things = Readonly<
  Record<
    | 'tenant'
    | 'subscriptionId'
    | 'eventId'
    | 'eventRowId'
    | 'deliveryId'
    | 'attemptId'
    | 'rejectedEventId'
    | 'apiKeyId'
    | 'replayId'
    | 'auditEntryId'
    | 'deliveryJobId'
    | 'signingSecretId'
    | 'sessionId'
    | 'erasureId',
    string
  >
>;
type Case = (theirs: Things, own: Things) => readonly string[];

/**
 * For every root field and every other field with arguments: the field with arguments that name things of another tenant.
 * Without a selection, which is generated from all fields. The cursors of pages have separate tests.
 */
const CASES: Readonly<Record<string, Case>> = {
  'Query.webhookSubscription': (x) => [`webhookSubscription(id: "${x.subscriptionId}")`],
  'Query.webhookSubscriptions': (x) => [
    `webhookSubscriptions(filter: { tenant: "${x.tenant}" })`,
    `webhookSubscriptions(filter: { subscriptionIds: ["${x.subscriptionId}"] })`,
    ...pages('webhookSubscriptions', x.subscriptionId),
  ],
  'Query.delivery': (x) => [`delivery(id: "${x.deliveryId}")`],
  'Query.deliveries': (x) => [...filters('deliveries', x), ...pages('deliveries', x.deliveryId)],
  'Query.attempt': (x) => [`attempt(id: "${x.attemptId}")`],
  'Query.deliveryLog': (x) => [...filters('deliveryLog', x), ...pages('deliveryLog', x.attemptId)],
  'Query.event': (x) => [
    `event(id: "${x.eventId}")`,
    `event(id: "${x.eventRowId}")`,
    `event(id: "${x.eventId}", tenant: "${x.tenant}")`,
    `event(id: "shared", tenant: "${x.tenant}")`,
  ],
  'Query.events': (x) => [
    `events(filter: { tenant: "${x.tenant}" })`,
    `events(filter: { ids: ["${x.eventId}", "${x.eventRowId}"] })`,
    ...pages('events', x.eventRowId),
  ],
  'Query.rejectedEvents': (x) => [
    `rejectedEvents(filter: { tenant: "${x.tenant}" })`,
    ...pages('rejectedEvents', x.rejectedEventId),
  ],
  'Query.auditLog': (x) => [
    `auditLog(filter: { tenant: "${x.tenant}" })`,
    `auditLog(filter: { objectIds: ["${x.subscriptionId}"] })`,
    ...pages('auditLog', x.auditEntryId),
  ],
  'Query.apiKeys': (x) => [`apiKeys(filter: { tenant: "${x.tenant}" })`, 'apiKeys'],
  'Query.deliveryStats': (x) =>
    ['HOUR', 'MINUTE'].flatMap((bucket) =>
      [`tenant: "${x.tenant}"`, `subscriptionIds: ["${x.subscriptionId}"]`, `eventTypes: ["only.${x.tenant}"]`].map(
        (filter) => `deliveryStats(filter: { ${filter} }, bucket: ${bucket}, groupBy: SUBSCRIPTION, ${THE_LAST_HOUR})`,
      ),
    ),
  'Query.deliveryCounts': (x) => filters('deliveryCounts', x),
  'Query.eventType': () => ['eventType(name: "shared")'],
  'Query.eventTypes': () => ['eventTypes'],
  'Query.observedEventTypes': (x) => ['observedEventTypes', `observedEventTypes(tenant: "${x.tenant}")`],
  'EventType.subscriptionCount': (x) => [
    'eventType(name: "shared") { subscriptionCount',
    `eventType(name: "shared") { subscriptionCount(tenant: "${x.tenant}")`,
  ],
  'EventType.lastEventAt': (x) => [
    'eventType(name: "shared") { lastEventAt',
    `eventType(name: "shared") { lastEventAt(tenant: "${x.tenant}")`,
  ],
  'EventType.example': (x) => [
    'eventType(name: "shared") { example',
    `eventType(name: "shared") { example(tenant: "${x.tenant}")`,
  ],
  'Query.testFilter': (x) => [
    'testFilter(filter: { n: 1 }, data: { n: 1 })',
    `testFilter(filter: { n: 1 }, eventId: "${x.eventId}")`,
    `testFilter(filter: { n: 1 }, eventId: "${x.eventId}", tenant: "${x.tenant}")`,
  ],
  'Query.testFilterOnEvents': (x) => [
    `testFilterOnEvents(filter: { n: 1 }, last: 3, tenant: "${x.tenant}")`,
    `testFilterOnEvents(filter: { n: 1 }, last: 3, eventTypes: ["only.${x.tenant}"])`,
    `testFilterOnEvents(filter: { n: 1 }, last: 3, olderThan: "${x.eventId}")`,
  ],
  'Query.search': (x) => Object.values(x).map((text) => `search(text: "${text}")`),
  'Query.tenant': (x) => [`tenant(name: "${x.tenant}")`],
  'Query.tenants': () => ['tenants'],
  'Query.replay': (x) => [`replay(id: "${x.replayId}")`],
  'Query.replays': (x) => [`replays(filter: { tenant: "${x.tenant}" })`, ...pages('replays', x.replayId)],
  'Query.verifySignature': (x, own) => [
    `verifySignature(input: { subscriptionId: "${x.subscriptionId}", ${receivedOf(x)} })`,
    `verifySignature(input: { attemptId: "${x.attemptId}", ${receivedOf(x)} })`,
    `verifySignature(input: { subscriptionId: "${own.subscriptionId}", ${receivedOf(x)} })`,
  ],
  'Query.viewer': () => ['viewer'],
  'Query.server': () => ['server'],
  'Mutation.createWebhookSubscription': (x) => [
    `createWebhookSubscription(input: { tenant: "${x.tenant}", url: "https://example.com", eventTypes: ["*"] })`,
  ],
  'Mutation.updateWebhookSubscription': (x) => [
    `updateWebhookSubscription(id: "${x.subscriptionId}", input: { isActive: false, url: "https://evil.example" })`,
  ],
  'Mutation.deleteWebhookSubscription': (x) => [`deleteWebhookSubscription(id: "${x.subscriptionId}")`],
  'Mutation.rotateWebhookSecret': (x) => [`rotateWebhookSecret(id: "${x.subscriptionId}")`],
  'Mutation.probeNow': (x) => [`probeNow(id: "${x.subscriptionId}")`],
  'Mutation.pauseWebhookSubscription': (x) => [`pauseWebhookSubscription(id: "${x.subscriptionId}")`],
  'Mutation.resumeWebhookSubscription': (x) => [`resumeWebhookSubscription(id: "${x.subscriptionId}")`],
  'Mutation.expireSigningSecret': (x) => [
    `expireSigningSecret(id: "${x.subscriptionId}", secretId: "${x.signingSecretId}")`,
  ],
  'Mutation.createPortalSession': (x) => [`createPortalSession(input: { tenant: "${x.tenant}" })`],
  // Has no ids in its arguments, and each answer is a new session.
  'Mutation.createConsoleSession': () => [],
  'Mutation.exchangePortalCode': () => ['exchangePortalCode(code: "whc_")'],
  'Mutation.revokePortalSession': (x) => [x.sessionId, x.apiKeyId].map((id) => `revokePortalSession(id: "${id}")`),
  'Mutation.endSession': () => ['endSession'],
  'Mutation.sendTestEvent': (x) => [`sendTestEvent(subscriptionId: "${x.subscriptionId}")`],
  'Mutation.deliverEvents': (x, own) => [
    `deliverEvents(input: { subscriptionId: "${x.subscriptionId}", eventIds: ["${x.eventId}"] })`,
    `deliverEvents(input: { subscriptionId: "${own.subscriptionId}", eventIds: ["${x.eventId}", "${x.eventRowId}"] })`,
  ],
  'Mutation.createApiKey': (x) => [`createApiKey(input: { name: "x", scope: TENANT_READ, tenant: "${x.tenant}" })`],
  'Mutation.revokeApiKey': (x) => [`revokeApiKey(id: "${x.apiKeyId}")`],
  'Mutation.putEventType': () => ['putEventType(input: { name: "mine" })'],
  'Mutation.publishEvent': (x) => [`publishEvent(input: { tenant: "${x.tenant}", type: "shared", data: 1 })`],
  'Mutation.publishEvents': (x) => [
    `publishEvents(input: { tenant: "${x.tenant}", events: [ { type: "shared", data: 1 } ] })`,
  ],
  'Mutation.retryDelivery': (x) => [`retryDelivery(id: "${x.deliveryId}")`],
  'Mutation.cancelDelivery': (x) => [`cancelDelivery(id: "${x.deliveryId}")`],
  // Its counts have a separate test, because each answer is a new replay.
  'Mutation.startReplay': (x) => [`startReplay(input: { filter: { tenant: "${x.tenant}" } })`],
  // These have no ids in their arguments, and each answer is a new position.
  'Query.changesCursor': () => [],
  'Query.deliveryLogCursor': () => [],
  'Query.deliveryJob': (x) => [`deliveryJob(id: "${x.deliveryJobId}")`],
  'Query.deliveryJobs': (x) => [
    `deliveryJobs(filter: { tenant: "${x.tenant}" })`,
    ...pages('deliveryJobs', x.deliveryJobId),
  ],
  'Mutation.retryDeliveries': (x) => [`retryDeliveries(input: { filter: { tenant: "${x.tenant}" }, dryRun: true })`],
  'Mutation.cancelDeliveries': (x) => [`cancelDeliveries(input: { filter: { tenant: "${x.tenant}" }, dryRun: true })`],
  'Mutation.cancelDeliveryJob': (x) => [`cancelDeliveryJob(id: "${x.deliveryJobId}")`],
  'Mutation.changeDeliveryJobRate': (x) => [`changeDeliveryJobRate(id: "${x.deliveryJobId}", ratePerSecond: 2)`],
  'Subscription.serverHealth': () => ['serverHealth'],
  'Subscription.deliveryJobProgress': (x) => [`deliveryJobProgress(id: "${x.deliveryJobId}")`],
  'Query.erasure': (x) => [`erasure(id: "${x.replayId}")`],
  'Query.erasures': (x) => [`erasures(filter: { tenant: "${x.tenant}" })`, 'erasures'],
  'Mutation.eraseTenant': (x) => [`eraseTenant(tenant: "${x.tenant}")`],
  'Mutation.redactEvent': (x) => [
    `redactEvent(id: "${x.eventId}")`,
    `redactEvent(id: "${x.eventRowId}")`,
    `redactEvent(id: "${x.eventId}", tenant: "${x.tenant}")`,
  ],
  'Mutation.cancelReplay': (x) => [`cancelReplay(id: "${x.replayId}")`],
  'Mutation.changeReplayRate': (x) => [`changeReplayRate(id: "${x.replayId}", ratePerSecond: 2)`],
  'Subscription.deliveryChanges': (x) => filters('deliveryChanges', x),
  'Subscription.subscriptionChanges': (x) => [
    `subscriptionChanges(filter: { tenant: "${x.tenant}" })`,
    `subscriptionChanges(filter: { subscriptionIds: ["${x.subscriptionId}"] })`,
  ],
  'Subscription.jobChanges': (x) => [
    'jobChanges',
    `jobChanges(filter: { tenant: "${x.tenant}" })`,
    `jobChanges(filter: { ids: ["${x.replayId}"] })`,
  ],
  'Subscription.tenantChanges': (x) => ['tenantChanges', `tenantChanges(filter: { search: "${x.tenant}" })`],
  'Subscription.eventLog': (x) => [
    'eventLog',
    `eventLog(filter: { tenant: "${x.tenant}" })`,
    `eventLog(filter: { ids: ["${x.eventId}"] })`,
  ],
  'Subscription.rejectedEventLog': (x) => ['rejectedEventLog', `rejectedEventLog(filter: { tenant: "${x.tenant}" })`],
  'Subscription.replayProgress': (x) => [`replayProgress(id: "${x.replayId}")`],
  'Subscription.deliveryLog': (x) => [...filters('deliveryLog', x), `deliveryLog(after: "${cursorOf(x.attemptId)}")`],
  'WebhookSubscription.deliveries': (x, own) =>
    [...filters('deliveries', x), ...pages('deliveries', x.deliveryId)].map(
      (field) => `webhookSubscription(id: "${own.subscriptionId}") { ${field}`,
    ),
  'WebhookSubscription.deliveryLog': (x, own) =>
    [...filters('deliveryLog', x), ...pages('deliveryLog', x.attemptId)].map(
      (field) => `webhookSubscription(id: "${own.subscriptionId}") { ${field}`,
    ),
  'WebhookSubscription.stats': (_x, own) => [
    `webhookSubscription(id: "${own.subscriptionId}") { stats(bucket: HOUR, ${THE_LAST_HOUR})`,
  ],
  'Delivery.attempts': (x, own) =>
    pages('attempts', x.attemptId).map((field) => `delivery(id: "${own.deliveryId}") { ${field}`),
  'Event.considered': (x, own) =>
    pages('considered', x.subscriptionId).map((field) => `event(id: "${own.eventId}") { ${field}`),
  'Event.deliveries': (x, own) =>
    pages('deliveries', x.deliveryId).map((field) => `event(id: "${own.eventId}") { ${field}`),
};

/** A received request with an invalid signature. */
function receivedOf({ eventId }: Things): string {
  return `webhookId: "${eventId}", webhookTimestamp: "1", webhookSignature: "v1,${'A'.repeat(43)}=", body: "{}"`;
}

const THE_LAST_HOUR = `from: "${new Date(Date.now() - 3_600_000).toISOString()}", to: "${new Date().toISOString()}"`;

/** DeliveryFilters, one for each field that can name something of a tenant. */
function filters(
  field: string,
  { tenant, subscriptionId, deliveryId, attemptId, eventId, eventRowId }: Things,
): string[] {
  return [
    ...(field === 'deliveryLog' ? [] : [`${field}(filter: { eventIds: ["${eventId}", "${eventRowId}"] })`]),
    `${field}(filter: { ids: ["${deliveryId}", "${attemptId}"] })`,
    `${field}(filter: { tenant: "${tenant}" })`,
    `${field}(filter: { subscriptionIds: ["${subscriptionId}"] })`,
    `${field}(filter: { eventTypes: ["only.${tenant}"] })`,
  ];
}

function pages(field: string, id: string): string[] {
  const cursor = cursorOf(id);
  return [`${field}(first: 5, after: "${cursor}")`, `${field}(last: 5, before: "${cursor}")`];
}

function cursorOf(id: string): string {
  return Buffer.from(`GPC:S:${id}`).toString('base64');
}

// Names of the same length, so that answers that should be equal can be compared unchanged.
const OWN = 'acme-000';
const THEIRS = 'umbrella';
const NOBODY = 'nobody00';
const JWT_SECRET = 'a secret of thirty-two characters';
/** Types that only administrators see, for every tenant; other tests check that. */
const ADMINISTRATION = /^(ApiKey|Erasure|Server(Health|Process)|Tenant)/;

const schema = buildSchema(readFileSync(new URL('../../schema.graphql', import.meta.url), 'utf8'));
const ROOTS = ['Query', 'Mutation', 'Subscription'];
/** Tables without a tenant, and tables that change in the background, such as the counts of attempts. */
const NOBODYS_TABLES = [
  ...['_prisma_migrations', 'alert_schedule', 'attempt_counts', 'change_readers', 'changes', 'event_types'],
  'uncounted_attempts',
];
/** The SQL expression for the tenant of the rows of each table. */
const OWNER_OF: Readonly<Record<string, string>> = {
  alerts: "(t.detail ->> 'tenant')",
  tenants: 'name',
  signing_secrets: '(SELECT tenant FROM webhook_subscriptions s WHERE s.id = t.subscription_id)',
  matching_settings: '(SELECT tenant FROM webhook_subscriptions s WHERE s.id = t.subscription_id)',
  subscription_states: '(SELECT tenant FROM webhook_subscriptions s WHERE s.id = t.subscription_id)',
};

let services: TestServices;
let app: TestApp;
let receiver: Receiver;
let own: Things;
let theirs: Things;
let nobodys: Things;
/** Texts that only the other tenant may see: its name, which is part of all its texts, and the ids of all its rows. */
let canaries: readonly string[];
let sqlOfRows: string | undefined;
let credentials: readonly string[];
/** Number of rounds of publications to both tenants while streams are open. */
let round = 0;

beforeAll(async () => {
  services = await startTestServices();
  app = await startTestApp(services, { env: { RETRY_SCHEDULE: '1d', JWT_SECRET } });
  // The responses are in the log, so they contain the path of the tenant.
  receiver = await startReceiver(({ path }) => ({ status: path.endsWith('fails') ? 500 : 200, body: path }));
  // The catalogue is shared by all tenants.
  await app.graphql('mutation { putEventType(input: { name: "shared" }) { __typename } }');
  own = await furnish(OWN);
  theirs = await furnish(THEIRS);
  nobodys = { ...mapValues(theirs, inventId), tenant: NOBODY, eventId: `only-${NOBODY}` };
  canaries = [THEIRS, ...(await idsOf(THEIRS))];
  const { key } = await createApiKey(app, { scope: 'TENANT_WRITE', tenant: OWN });
  const jwt = await new SignJWT({ tenant: OWN, scope: 'TENANT_WRITE' })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('10 minutes')
    .sign(new TextEncoder().encode(JWT_SECRET));
  credentials = [key, jwt];
});
afterAll(async () => {
  await app.stop();
  await receiver.close();
  await services.stop();
});

/** Creates at least one object of every type. Two tenants created this way differ only by their names. */
async function furnish(tenant: string): Promise<Things> {
  const settings = { tenant, description: `of ${tenant}`, headers: [{ name: `X-${tenant}`, value: 'x' }] };
  const { id: subscriptionId } = await app.subscribe({ ...settings, url: `${receiver.url}/${tenant}` });
  const failing = await app.subscribe({ ...settings, url: `${receiver.url}/${tenant}/fails` });
  // Earlier failures do not count, so no circuit opens in any number of rounds.
  await services.query(
    `UPDATE subscription_states SET closed_at = now() + interval '1 h' WHERE subscription_id = ANY ($1)`,
    [[subscriptionId, failing.id]],
  );
  await services.publish(`events.${tenant}.only.${tenant}`, `{"of":"${tenant}"}`, { 'Nats-Msg-Id': `only-${tenant}` });
  await services.publish(`events.${tenant}.shared`, `{"of":"${tenant}"}`, { 'Nats-Msg-Id': 'shared' });
  await services.publish(`events.${tenant}.rejected`, `no JSON of ${tenant}`);
  const { id: apiKeyId } = await createApiKey(app, { scope: 'TENANT_READ', tenant, name: `of ${tenant}` });
  await app.graphql(
    `mutation { startReplay(input: { filter: { tenant: "${tenant}", statuses: [CANCELLED] } }) { __typename }
      cancelDeliveries(input: { filter: { tenant: "${tenant}", eventTypes: [] } }) { __typename }
      createPortalSession(input: { tenant: "${tenant}", subject: "of ${tenant}" }) { __typename } }`,
  );
  await services.query(`INSERT INTO erasures (id, tenant, status, completed_at) VALUES ($2, $1, 'COMPLETED', now())`, [
    tenant,
    uuid7(Date.now()),
  ]);
  const [secret] = await services.query<{ id: string }>('SELECT id FROM signing_secrets WHERE subscription_id = $1', [
    subscriptionId,
  ]);
  const idOf = async (table: string, where = 'true') => {
    const [row] = await services.query<{ id: string }>(
      `SELECT id FROM ${table} WHERE tenant = $1 AND ${where} ORDER BY id DESC LIMIT 1`,
      [tenant],
    );
    return row?.id ?? '';
  };
  await waitFor(
    async () =>
      (await services.query('SELECT FROM attempts WHERE tenant = $1', [tenant])).length === 4 &&
      (await idOf('rejected_events')) !== '' &&
      (await idOf('replays', `status = 'COMPLETED'`)) !== '' &&
      (await idOf('deliveries', `subscription_id = '${failing.id}' AND next_attempt_at IS NOT NULL`)) !== '',
    { what: 'everything to be there' },
  );
  return {
    tenant,
    subscriptionId,
    eventId: `only-${tenant}`,
    apiKeyId,
    eventRowId: await idOf('events', `type <> 'shared'`),
    deliveryId: await idOf('deliveries', `event_type <> 'shared' AND subscription_id = '${subscriptionId}'`),
    attemptId: await idOf('attempts', `event_type <> 'shared'`),
    rejectedEventId: await idOf('rejected_events'),
    replayId: await idOf('replays', `kind = 'REPLAY'`),
    deliveryJobId: await idOf('replays', `kind = 'CANCEL'`),
    auditEntryId: await idOf('audit_log'),
    signingSecretId: secret?.id ?? '',
    sessionId: await idOf('api_keys', `kind = 'PORTAL'`),
    erasureId: await idOf('erasures'),
  };
}

/** Returns an unknown id at the same position in the order of ids. */
function inventId(id: string): string {
  return id.replace(/[0-9a-f]{8}$/, (end) => ((Number.parseInt(end, 16) ^ 0x5a5a) >>> 0).toString(16).padStart(8, '0'));
}

function mapValues(things: Things, change: (value: string) => string): Things {
  // `as`: the keys do not change.
  return Object.fromEntries(Object.entries(things).map(([name, value]) => [name, change(value)])) as Things;
}

/**
 * The statement that reads every row of a tenant ($1), of every table, as text. One statement: a query for each table took
 * a third of this file's CPU time.
 */
async function selectRows(): Promise<string> {
  const tables = await services.query<{ name: string; hasTenant: boolean }>(
    `SELECT t.table_name AS name, bool_or(c.column_name = 'tenant') AS "hasTenant"
     FROM information_schema.tables t JOIN information_schema.columns c USING (table_schema, table_name)
     WHERE t.table_schema = 'public' AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = t.table_name::regclass)
     GROUP BY 1`,
  );
  const ofTables = tables
    .filter(({ name }) => !NOBODYS_TABLES.includes(name))
    .map(({ name, hasTenant }) => {
      const owner = OWNER_OF[name] ?? (hasTenant ? 'tenant' : undefined);
      // A new table without a column `tenant` needs an entry above.
      if (owner === undefined) throw new Error(`OWNER_OF has no entry for the table ${name}`);
      return `SELECT '${name}' AS "table", to_jsonb(t)::text AS "row" FROM ${name} t WHERE ${owner} = $1`;
    });
  return `${ofTables.join(' UNION ALL ')} ORDER BY 1, 2`;
}

/** Every row of a tenant, by table. */
async function rowsOf(tenant: string): Promise<Readonly<Record<string, string[]>>> {
  const rows = await services.query<{ table: string; row: string }>((sqlOfRows ??= await selectRows()), [tenant]);
  const byTable: Record<string, string[]> = {};
  for (const { table, row } of rows) (byTable[table] ??= []).push(row);
  return byTable;
}

async function idsOf(tenant: string): Promise<string[]> {
  const text = JSON.stringify(await rowsOf(tenant));
  return [...new Set(text.match(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g))];
}

/** The canaries in a text, including those in its cursors. */
function leaksIn(text: string): string[] {
  const cursors = [...text.matchAll(/"(R1BDO[\w+/=]+)"/g)].map(([, cursor = '']) =>
    Buffer.from(cursor, 'base64').toString(),
  );
  const all = [text, ...cursors].join(' ').toLowerCase();
  return canaries.filter((canary) => all.includes(canary));
}

/** Levels of objects below a field. With these, the fields of nearly every type are selected. */
const DEEP = 4;
/** Levels for the fields of a row, which show a foreign row. The validation of deeper documents takes long. */
const SHALLOW = 2;

/** Selects all fields without required arguments, of every type within `depth` levels. */
function selectionOf(type: GraphQLField<unknown, unknown>['type'], depth: number): string {
  const named = getNamedType(type);
  if (isLeafType(named)) return '';
  if (!isObjectType(named)) {
    const members = schema.getPossibleTypes(schema.getType(named.name) as never);
    return `{ __typename ${members.map((member) => `... on ${member.name} ${selectionOf(member, 2)}`).join(' ')} }`;
  }
  const fields = Object.values(named.getFields()).flatMap((field) => {
    const isLeaf = isLeafType(getNamedType(field.type));
    if (field.args.some(isRequiredArgument) || (!isLeaf && depth === 0)) return [];
    const size = field.args.some(({ name }) => name === 'first') ? '(first: 2)' : '';
    return [`${field.name}${size} ${selectionOf(field.type, depth - 1)}`];
  });
  return `{ ${['__typename', ...fields].join(' ')} }`;
}

/** The operation for an entry of CASES, which may have unclosed braces. */
function operationOf(name: string, path: string, depth = DEEP): string {
  const [typeName = '', fieldName = ''] = name.split('.');
  const type = schema.getType(typeName);
  if (!(type instanceof GraphQLObjectType)) throw new Error(`there is no type ${typeName}`);
  const field = type.getFields()[fieldName];
  if (field === undefined) throw new Error(`there is no field ${name}`);
  const kind = ROOTS.includes(typeName) ? typeName.toLowerCase() : 'query';
  const isPage = field.args.some(({ name: arg }) => arg === 'first') && !/\b(?:first|last):/.test(path);
  // All fields of all rows of a default page would exceed the cost limit.
  const sized = isPage
    ? path.replace(new RegExp(`^(.*\\b${fieldName})(?:\\((.*)\\))?$`), (_whole, head: string, args?: string) =>
        args === undefined ? `${head}(first: 5)` : `${head}(first: 5, ${args})`,
      )
    : path;
  return `${kind} { ${sized} ${selectionOf(field.type, depth)} ${'}'.repeat(path.split(' { ').length - 1 - (path.match(/ \}/g)?.length ?? 0))} }`;
}

const entries = (...types: string[]) =>
  Object.entries(CASES).filter(([name]) => types.includes(name.split('.')[0] ?? ''));
const others = Object.keys(CASES)
  .map((name) => name.split('.')[0] ?? '')
  .filter((type) => !ROOTS.includes(type));

it('every field that can name an object has a case', () => {
  const types = Object.values(schema.getTypeMap()).filter((type) => isObjectType(type) && !type.name.startsWith('__'));
  const fields = types.flatMap((type) =>
    isObjectType(type)
      ? Object.values(type.getFields())
          .filter((field) => ROOTS.includes(type.name) || field.args.length > 0)
          .map((field) => `${type.name}.${field.name}`)
      : [],
  );
  expect(Object.keys(CASES).toSorted()).toEqual(fields.toSorted());
});

it('the checks detect data of the other tenant', async () => {
  const answers = await Promise.all(
    ['webhookSubscriptions', 'deliveries', 'deliveryLog', 'events', 'rejectedEvents'].map((root) =>
      app.graphql(operationOf(`Query.${root}`, root)),
    ),
  );
  for (const answer of answers) expect(leaksIn(JSON.stringify(answer)).length).toBeGreaterThan(1);
});

/** Waits whenever the operation is refused because the tenant has used up its CPU time, as on a slow machine. */
async function postWithRetries(url: string, operation: Operation): Promise<OperationResponse> {
  for (;;) {
    const answer = await postOperation(url, operation);
    const refusal = answer.errors?.find(({ extensions }) => extensions?.['code'] === 'RATE_LIMITED');
    if (refusal === undefined) return answer;
    await delay(Number(refusal.extensions?.['retryAfterMs']));
  }
}

it('no field of own objects shows data of the other tenant', async () => {
  const seen = new Set<string>();
  for (const [name, paths] of entries('Query', ...others)) {
    for (const path of paths(own, own)) {
      const { text } = await postWithRetries(app.url, {
        credentials: credentials[0] ?? '',
        query: operationOf(name, path),
      });
      expect(leaksIn(text), path).toEqual([]);
      for (const [, type = ''] of text.matchAll(/"__typename":"(\w+)"/g)) seen.add(type);
    }
  }
  expect([...reachableTypes()].filter((type) => !seen.has(type) && !ADMINISTRATION.test(type))).toEqual([]);
});

/** The names of all object types that queries can return. */
function reachableTypes(): Set<string> {
  const reached = new Set<string>();
  const visit = (type: GraphQLObjectType): void => {
    for (const field of Object.values(type.getFields())) {
      const next = getNamedType(field.type);
      if (!isObjectType(next) || reached.has(next.name)) continue;
      reached.add(next.name);
      visit(next);
    }
  };
  const query = schema.getQueryType();
  if (query != null) visit(query);
  return reached;
}

/** The answer without the requested cursor, which an empty page may repeat, and without current times and ages. */
function neutral({ status, text }: OperationResponse): { readonly status: number; readonly text: string } {
  const asked = [...Object.values(theirs), ...Object.values(nobodys)].map((id) => cursorOf(id));
  const withoutTime = text.replace(/"time":"[^"]*"|\d+ s before/g, '');
  return { status, text: asked.reduce((rest, cursor) => rest.replaceAll(cursor, 'asked for'), withoutTime) };
}

describe('with an API key and with a JWT', () => {
  it.each(entries('Query', 'Mutation', ...others))(
    "%s: the other tenant's objects are like unknown ones",
    async (name, paths) => {
      const before = await rowsOf(THEIRS);
      const [asked, invented] = [paths(theirs, own), paths(nobodys, own)];
      for (const [index, path] of asked.entries()) {
        const query = operationOf(name, path, SHALLOW);
        const unknown = operationOf(name, invented[index] ?? '', SHALLOW);
        for (const token of credentials) {
          const answer = await postWithRetries(app.url, { credentials: token, query });
          expect(leaksIn(neutral(answer).text), path).toEqual([]);
          // Two rejections for another reason would be equal and prove nothing.
          const codes = answer.errors?.map(({ extensions }) => extensions?.['code']) ?? [];
          expect(codes, path).not.toContain('INTERNAL_SERVER_ERROR');
          expect(codes, path).not.toContain('LIMIT_EXCEEDED');
          // A query without ids.
          if (unknown === query) continue;
          expect(neutral(answer), path).toEqual(
            neutral(await postWithRetries(app.url, { credentials: token, query: unknown })),
          );
        }
      }
      expect(await rowsOf(THEIRS)).toEqual(before);
    },
  );

  it.each(entries('Subscription'))("%s: the other tenant's events are not received", async (name, paths) => {
    const asked = new Set([...paths(theirs, own), ...paths(nobodys, own), ...paths(own, own)]);
    const streams = await Promise.all(
      credentials.flatMap((token) =>
        [...asked].flatMap((path) => {
          const operation = { credentials: token, query: operationOf(name, path) };
          return [openEvents(app.url, operation), openSocket(app.url, operation)];
        }),
      ),
    );
    const witness = await openSocket(app.url, {
      credentials: credentials[0] ?? '',
      query: 'subscription { deliveryLog { eventType } }',
    });
    await waitFor(
      async () => {
        round += 1;
        for (const tenant of [THEIRS, OWN])
          await services.publish(`events.${tenant}.round-${round}`, `{"of":"${tenant}"}`);
        const isDone = async () =>
          (await services.query('SELECT FROM attempts WHERE event_type = $1', [`round-${round}`])).length === 4;
        await waitFor(isDone, { what: 'the attempts' });
        return waitFor(() => witness.text().includes(`round-${round}`), { what: 'the witness', timeoutMs: 1_000 });
      },
      { what: 'a round that was watched' },
    );
    canaries = [THEIRS, ...(await idsOf(THEIRS))];
    for (const stream of streams) {
      // A returned cursor contains the given one.
      expect(leaksIn(stream.text()).filter((id) => id !== theirs.attemptId)).toEqual([]);
      stream.close();
    }
    witness.close();
  });
});

describe('a session of one webhook subscription, without payloads', () => {
  let token: string;
  /** Another webhook subscription of the same tenant, and its rows. */
  let other: Things;
  let hidden: readonly string[];

  beforeAll(async () => {
    const idsOf = async (table: string, where: string) =>
      (await services.query<{ id: string }>(`SELECT id FROM ${table} WHERE tenant = $1 AND ${where}`, [OWN])).map(
        ({ id }) => id,
      );
    const [otherId = ''] = await idsOf('webhook_subscriptions', `url LIKE '%/fails'`);
    const rows = async (table: string) => idsOf(table, `subscription_id = '${otherId}'`);
    const [deliveries, attempts] = [await rows('deliveries'), await rows('attempts')];
    other = { ...own, subscriptionId: otherId, deliveryId: deliveries[0] ?? '', attemptId: attempts[0] ?? '' };
    hidden = [otherId, ...deliveries, ...attempts, '/fails', `"of":`, `\\"of\\"`];
    const { createPortalSession } = await app.graphql<{ createPortalSession: { token: string } }>(
      `mutation { createPortalSession(input: { tenant: "${OWN}", scope: TENANT_WRITE, hidePayloads: true,
         subscriptionIds: ["${own.subscriptionId}"] }) { ... on CreatePortalSessionPayload { token } } }`,
    );
    token = createPortalSession.token;
  });

  const leaks = (text: string, asked: string) =>
    // The cursors of an empty page may repeat an id of the query.
    hidden.filter((canary) => decoded(text).includes(canary) && !decoded(asked).includes(canary));
  const decoded = (text: string) =>
    text.replaceAll(/R1BDO[\w+/=]+/g, (cursor) => Buffer.from(cursor, 'base64').toString());

  it('the credentials of the tenant see the hidden data', async () => {
    const query = operationOf('Query.deliveryLog', 'deliveryLog');
    const { text } = await postWithRetries(app.url, { credentials: credentials[0] ?? '', query });
    expect(leaks(text, '').length).toBeGreaterThan(3);
  });

  /** The rows that the session must not change. */
  const state = async () => {
    const { replays, ...tables } = await rowsOf(OWN);
    const rows = Object.values(tables).flat();
    return [...(replays ?? []), ...rows.filter((row) => hidden.some((id) => row.includes(id)))];
  };

  it.each(entries('Query', 'Mutation', ...others))('%s shows and changes no other data', async (name, paths) => {
    const before = await state();
    if (name === 'Mutation.endSession') return;
    const isQuery = !name.startsWith('Mutation.');
    const ofOwn = isQuery ? paths(own, own) : [];
    for (const path of new Set([...paths(other, other), ...paths(other, own), ...ofOwn])) {
      const query = operationOf(name, path, ofOwn.includes(path) ? DEEP : SHALLOW);
      const { text, errors } = await postWithRetries(app.url, { credentials: token, query });
      expect(leaks(text, path), path).toEqual([]);
      const codes = errors?.map(({ extensions }) => extensions?.['code']) ?? [];
      expect(codes, path).not.toContain('INTERNAL_SERVER_ERROR');
    }
    expect(await state()).toEqual(before);
  });

  it('it cannot have events of the tenant delivered, which it does not see', async () => {
    const deliveries = () => services.query('SELECT FROM deliveries WHERE subscription_id = $1', [own.subscriptionId]);
    const before = await deliveries();
    const input = `{ subscriptionId: "${own.subscriptionId}", eventIds: ["${own.eventId}"] }`;
    const query = `mutation { deliverEvents(input: ${input}) { ... on DeliverEventsPayload { skippedCount } } }`;
    const { errors } = await postWithRetries(app.url, { credentials: token, query });
    expect(errors?.map(({ extensions }) => extensions?.['code'])).toEqual(['FORBIDDEN']);
    expect(await deliveries()).toHaveLength(before.length);
  });

  it('its live log has the attempts of its webhook subscription only', async () => {
    const query = 'subscription { deliveryLog { eventType url requestBody responseBody subscription { id } } }';
    const streams = [
      await openSocket(app.url, { credentials: token, query }),
      await openEvents(app.url, { credentials: token, query }),
    ];
    const all = await openSocket(app.url, { credentials: credentials[0] ?? '', query });
    await waitFor(
      async () => {
        round += 1;
        await services.publish(`events.${OWN}.round-${round}`, `{"of":"${OWN}"}`);
        const texts = () => [...streams, all].map((stream) => stream.text());
        return waitFor(
          () => texts().every((text) => text.includes(`round-${round}`)) && all.text().includes('/fails'),
          {
            what: 'both streams',
            timeoutMs: 2_000,
          },
        );
      },
      { what: 'a round that was watched' },
    );
    for (const stream of streams) expect(leaks(stream.text(), '')).toEqual([]);
    expect(leaks(all.text(), '').length).toBeGreaterThan(1);
    for (const stream of [...streams, all]) stream.close();
  });

  it('it sees its own webhook subscription, deliveries, attempts and counts, and the catalogue', async () => {
    const query = `{
      webhookSubscriptions { nodes { id } } deliveries { nodes { id event { type data } } } deliveryLog { nodes { id requestBody responseBody } }
      deliveryCounts { success failure } eventTypes { nodes { name } } viewer { hidePayloads subscriptionIds }
      deliveryStats(bucket: HOUR, ${THE_LAST_HOUR}) { total { attemptCount } } }`;
    const { data, errors } = await postWithRetries(app.url, { credentials: token, query });
    expect(errors).toBeUndefined();
    expect(data).toMatchObject({
      webhookSubscriptions: { nodes: [{ id: own.subscriptionId }] },
      viewer: { hidePayloads: true, subscriptionIds: [own.subscriptionId] },
    });
  });
});

it('a replay neither counts nor sends deliveries of the other tenant', async () => {
  const count = async ({ subscriptionId }: Things) => {
    const query = `mutation { startReplay(input: { filter: { subscriptionIds: ["${subscriptionId}"] }, dryRun: true }) {
      ... on StartReplayPayload { replay { tenant deliveryCount } } } }`;
    return (await postWithRetries(app.url, { credentials: credentials[0] ?? '', query })).data?.['startReplay'];
  };
  // One after another, because a tenant can start only one at a time.
  const [ofTheirs, ofNobodys, ofOwn] = [await count(theirs), await count(nobodys), await count(own)];
  expect(ofTheirs).toEqual({ replay: { tenant: OWN, deliveryCount: 0 } });
  expect(ofNobodys).toEqual(ofTheirs);
  expect(ofOwn).not.toEqual(ofTheirs);
});

it('no mutation of own objects shows data of the other tenant', async () => {
  const before = await rowsOf(THEIRS);
  for (const [name, paths] of entries('Mutation')) {
    for (const path of paths(own, own)) {
      const { text } = await postWithRetries(app.url, {
        credentials: credentials[0] ?? '',
        query: operationOf(name, path),
      });
      expect(leaksIn(text), path).toEqual([]);
    }
  }
  expect(await rowsOf(THEIRS)).toEqual(before);
});
