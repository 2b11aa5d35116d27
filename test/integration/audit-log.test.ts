import { afterAll, beforeAll, expect, test } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { createDatabase } from '../../src/postgres/client.ts';
import { deleteOldAuditEntries } from '../../src/retention/expired-rows.ts';
import { createApiKey, revokeApiKey } from '../support/api-keys.ts';
import { postOperation } from '../support/graphql-client.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';

let services: TestServices;
let app: TestApp;

beforeAll(async () => {
  services = await startTestServices();
  app = await startTestApp(services, { env: { ROLES: 'api' } });
});
afterAll(async () => {
  await app.stop();
  await services.stop();
});

type Entry = {
  readonly mutation: string;
  readonly tenant: string | null;
  readonly objectType: string;
  readonly objectId: string;
  readonly before: Record<string, unknown> | null;
  readonly after: Record<string, unknown> | null;
  readonly actor: {
    readonly kind: string;
    readonly scope: string;
    readonly id: string | null;
    readonly name: string | null;
  };
};

const FIELDS = 'mutation tenant objectType objectId before after actor { kind scope id name }';

/** Returns the entries about these objects, oldest first. */
async function entriesOf(...objectIds: string[]): Promise<Entry[]> {
  const query = `query ($ids: [ID!]) { auditLog(filter: { objectIds: $ids }) { nodes { ${FIELDS} } } }`;
  const { auditLog } = await app.graphql<{ auditLog: { nodes: Entry[] } }>(query, { ids: objectIds });
  return auditLog.nodes.toReversed();
}

const OPERATOR = { kind: 'OPERATOR', scope: 'ADMIN', id: null, name: null };

test('the life of a webhook subscription is recorded with what changed, without secrets', async () => {
  const headers = [{ name: 'x-token', value: 'hidden-value' }];
  const { id, secret } = await app.subscribe({ url: 'http://127.0.0.1:65001/a', headers });
  await app.graphql(
    `mutation { updateWebhookSubscription(id: "${id}", input: { url: "http://127.0.0.1:65001/b", filter: { n: 1 } }) { __typename } }`,
  );
  await app.graphql(`mutation { rotateWebhookSecret(id: "${id}") { __typename } }`);
  await app.graphql(`mutation { deleteWebhookSubscription(id: "${id}") { __typename } }`);
  const [created, updated, rotated, deleted, ...rest] = await entriesOf(id);
  expect(rest).toEqual([]);
  const common = { tenant: 'acme', objectType: 'WebhookSubscription', objectId: id, actor: OPERATOR };
  expect(created).toMatchObject({ ...common, mutation: 'createWebhookSubscription', before: null });
  expect(created?.after).toMatchObject({ url: 'http://127.0.0.1:65001/a', headerNames: ['x-token'], maxInFlight: 10 });
  expect(updated).toEqual({
    ...common,
    mutation: 'updateWebhookSubscription',
    before: { url: 'http://127.0.0.1:65001/a', filter: null },
    after: { url: 'http://127.0.0.1:65001/b', filter: { n: 1 } },
  });
  expect(Object.keys(rotated?.after ?? {})).toEqual(['signingSecrets']);
  expect(rotated?.after?.['signingSecrets']).toHaveLength(2);
  expect(deleted).toMatchObject({ mutation: 'deleteWebhookSubscription', after: null });
  expect(deleted?.before).toMatchObject({ url: 'http://127.0.0.1:65001/b' });
  const text = JSON.stringify(await services.query('SELECT * FROM audit_log'));
  for (const hidden of ['hidden-value', secret]) expect(text).not.toContain(hidden);
});

test('changes of keys, event types and replays are recorded, with the key that was used', async () => {
  const { id: writerId, key } = await createApiKey(app, { scope: 'TENANT_WRITE', tenant: 'acme', name: 'billing' });
  const admin = await createApiKey(app, { scope: 'ADMIN', name: 'alice' });
  const startReplay = async (input: string) => {
    const query = `mutation { startReplay(input: { ${input} }) { ... on StartReplayPayload { replay { id } } } }`;
    const { data } = await postOperation(app.url, { credentials: key, query });
    // `as`: the type of the selected fields.
    return (data as { startReplay: { replay: { id: string } } }).startReplay.replay.id;
  };
  const replayId = await startReplay('filter: { eventTypes: [] }');
  expect(await entriesOf(await startReplay('filter: {}, dryRun: true'))).toEqual([]);
  const put = (input: string) =>
    postOperation(app.url, {
      credentials: admin.key,
      query: `mutation { putEventType(input: { name: "order.paid", ${input} }) { __typename } }`,
    });
  await put('description: "one"');
  await put('description: "two"');
  await revokeApiKey(app, writerId);
  const [made, revoked] = await entriesOf(writerId);
  expect(made).toMatchObject({
    mutation: 'createApiKey',
    tenant: 'acme',
    after: { name: 'billing', scope: 'TENANT_WRITE' },
  });
  expect(revoked).toMatchObject({ mutation: 'revokeApiKey', before: { revokedAt: null } });
  const billing = { kind: 'API_KEY', scope: 'TENANT_WRITE', id: writerId, name: 'billing' };
  expect(await entriesOf(replayId)).toMatchObject([{ mutation: 'startReplay', tenant: 'acme', actor: billing }]);
  const alice = { kind: 'API_KEY', scope: 'ADMIN', id: admin.id, name: 'alice' };
  expect(await entriesOf('order.paid')).toMatchObject([
    { mutation: 'putEventType', tenant: null, before: null, actor: alice },
    { before: { description: 'one' }, after: { description: 'two' }, actor: alice },
  ]);
});

test('an id in upper case is recorded, and found, in lower case; the publisher of an event chooses the case of its id', async () => {
  const { id } = await app.subscribe({ url: 'http://127.0.0.1:65001/a' });
  await app.graphql(`mutation { rotateWebhookSecret(id: "${id.toUpperCase()}") { __typename } }`);
  const rows = await services.query<{ id: string }>(
    `SELECT object_id AS id FROM audit_log WHERE mutation = 'rotateWebhookSecret'`,
  );
  expect(rows.filter((row) => row.id.toLowerCase() === id)).toEqual([{ id }]);
  const mutations = (entries: readonly Entry[]) => entries.map(({ mutation }) => mutation);
  const expected = ['createWebhookSubscription', 'rotateWebhookSecret'];
  expect(mutations(await entriesOf(id.toUpperCase()))).toEqual(expected);

  const eventId = uuid7(1).toUpperCase();
  const input = `{ tenant: "acme", type: "a.b", data: 1, id: "${eventId}" }`;
  const published = await app.graphql<{ publishEvent: { event: { id: string } } }>(
    `mutation { publishEvent(input: ${input}) { ... on PublishEventPayload { event { id } } } }`,
  );
  expect(published.publishEvent.event.id).toBe(eventId);
});

test('a tenant sees its own entries, without the names of the operator', async () => {
  const { key } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'beta' });
  const admin = await createApiKey(app, { scope: 'ADMIN', name: 'bob of operations' });
  const input = { tenant: 'beta', url: 'http://127.0.0.1:65001/beta', eventTypes: ['*'] };
  const query = `mutation ($input: CreateWebhookSubscriptionInput!) { createWebhookSubscription(input: $input) { __typename } }`;
  await postOperation(app.url, { credentials: admin.key, query, variables: { input } });
  const { text, data } = await postOperation(app.url, {
    credentials: key,
    query: `{ auditLog { nodes { ${FIELDS} } } }`,
  });
  // `as`: the type of the selected fields.
  const { nodes } = (data as { auditLog: { nodes: Entry[] } }).auditLog;
  expect(nodes.map(({ mutation, tenant }) => ({ mutation, tenant }))).toEqual([
    { mutation: 'createWebhookSubscription', tenant: 'beta' },
    { mutation: 'createApiKey', tenant: 'beta' },
  ]);
  expect(nodes[0]?.actor).toEqual({ kind: 'API_KEY', scope: 'ADMIN', id: null, name: null });
  expect(text).not.toContain('bob of operations');
});

test('a rejected mutation has no entry, and a change that cannot be recorded is not made', async () => {
  const count = async () => (await services.query('SELECT FROM audit_log')).length;
  const subscriptions = async () => (await services.query('SELECT FROM webhook_subscriptions')).length;
  const before = { entries: await count(), subscriptions: await subscriptions() };
  await app.graphql(`mutation { deleteWebhookSubscription(id: "${uuid7(1)}") { __typename } }`);
  await app.graphql('mutation { updateWebhookSubscription(id: "x", input: { url: "nonsense" }) { __typename } }');
  expect(await count()).toBe(before.entries);
  await services.query('ALTER TABLE audit_log RENAME TO unavailable');
  await expect(app.subscribe({ url: 'http://127.0.0.1:65001/lost' })).rejects.toThrow();
  await services.query('ALTER TABLE unavailable RENAME TO audit_log');
  expect(await subscriptions()).toBe(before.subscriptions);
});

test('an update without any setting changes nothing, and has no entry', async () => {
  const { id } = await app.subscribe({ url: 'http://127.0.0.1:65001/same' });
  const update = (input: string) =>
    app.graphql(`mutation { updateWebhookSubscription(id: "${id}", input: ${input}) { __typename } }`);
  const put = (input: string) => app.graphql(`mutation { putEventType(input: ${input}) { __typename } }`);
  await put('{ name: "same.type" }');
  const rows = async () => [
    await services.query('SELECT updated_at FROM webhook_subscriptions WHERE id = $1', [id]),
    await services.query(`SELECT version FROM event_types WHERE name = 'same.type'`),
  ];
  const before = await rows();
  await update('{}');
  await update('{ url: null }');
  await put('{ name: "same.type", description: null }');
  expect(await rows()).toEqual(before);
  const mutations = async (objectId: string) => (await entriesOf(objectId)).map(({ mutation }) => mutation);
  expect([await mutations(id), await mutations('same.type')]).toEqual([
    ['createWebhookSubscription'],
    ['putEventType'],
  ]);
  await services.query(`DELETE FROM event_types WHERE name = 'same.type'`);
});

test('concurrent updates are recorded with the values that each replaced', async () => {
  const { id } = await app.subscribe({ url: 'http://127.0.0.1:65001/0' });
  const update = (n: number) =>
    app.graphql(
      `mutation { updateWebhookSubscription(id: "${id}", input: { url: "http://127.0.0.1:65001/${n}" }) { __typename } }`,
    );
  await Promise.all([1, 2, 3, 4, 5].map(update));
  const [, ...updates] = await entriesOf(id);
  const edges = updates.map(({ before, after }) => [before?.['url'], after?.['url']]);
  // Except for the first, each old value is the new value of exactly one other update.
  const olds = new Set(edges.map(([from]) => from));
  const news = new Set(edges.map(([, to]) => to));
  expect([olds.size, news.size]).toEqual([5, 5]);
  expect([...olds].filter((url) => !news.has(url))).toEqual(['http://127.0.0.1:65001/0']);
});

test('publishing is not recorded', async () => {
  const count = async () => (await services.query('SELECT FROM audit_log')).length;
  const before = await count();
  await app.graphql('mutation { publishEvent(input: { tenant: "acme", type: "a.b", data: 1 }) { __typename } }');
  expect(await count()).toBe(before);
});

test('retention deletes old entries', async () => {
  const database = createDatabase({ url: services.databaseUrl, onError: () => undefined });
  const DAY_MS = 86_400_000;
  const nowMs = Date.now();
  const old = uuid7(nowMs - 11 * DAY_MS);
  await services.query(
    `INSERT INTO audit_log (id, mutation, actor_kind, actor_scope, object_type) VALUES ($1, 'old', 'OPERATOR', 'ADMIN', 'Tenant')`,
    [old],
  );
  const before = (await services.query('SELECT FROM audit_log')).length;
  const deadline = { signal: new AbortController().signal, deadlineMs: performance.now() + 10_000 };
  expect(await deleteOldAuditEntries(database.pool, { nowMs, days: 10, deadline })).toEqual({ count: 1, isDone: true });
  await database.close();
  expect((await services.query('SELECT FROM audit_log')).length).toBe(before - 1);
});
