import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import process from 'node:process';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { createApiKey, revokeApiKey } from '../support/api-keys.ts';
import { type OperationResponse, openSocket, postOperation } from '../support/graphql-client.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let app: TestApp;
let other: TestApp;
const logLines: string[] = [];

beforeAll(async () => {
  services = await startTestServices();
  const log = pino({ level: 'trace' }, { write: (line: string) => void logLines.push(line) });
  const env = { ROLES: 'api' };
  app = await startTestApp(services, { env, log });
  other = await startTestApp(services, { env, log });
});
afterAll(async () => {
  await app.stop();
  await other.stop();
  await services.stop();
});

const LIST = '{ webhookSubscriptions { nodes { id } } }';
const list = (credentials: string, at = app) => postOperation(at.url, { credentials, query: LIST });

const codesOf = ({ errors }: OperationResponse) => errors?.map(({ extensions }) => extensions?.['code']);

test('viewer and server describe the credential of the client and the program', async () => {
  const query = `{ viewer { scope tenant subject expiresAt }
    server { retentionDays retrySchedule limits { maxPageSize } health { isReady parts { name isOk isNeeded } } } }`;
  const { key } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme', name: 'billing' });
  const server = { retentionDays: 30, retrySchedule: [0.2, 0.3], limits: { maxPageSize: 250 } };
  expect((await postOperation(app.url, { credentials: key, query })).data).toEqual({
    viewer: { scope: 'TENANT_READ', tenant: 'acme', subject: 'billing', expiresAt: null },
    server: { ...server, health: null },
  });
  expect(await app.graphql(query)).toEqual({
    viewer: { scope: 'ADMIN', tenant: null, subject: null, expiresAt: null },
    server: {
      ...server,
      health: {
        isReady: true,
        parts: [
          { name: 'database', isOk: true, isNeeded: true },
          { name: 'nats', isOk: true, isNeeded: false },
          { name: 'start', isOk: true, isNeeded: true },
        ],
      },
    },
  });
});

test('operators see the processes of the installation, and tenants do not', async () => {
  const query = `{ server { processes { problem nodes { id hostname pid worker roles version nodeVersion startedAt
    answeredAt memoryBytes attemptsInFlight health { isReady parts { name isOk warnings } } } } } }`;
  const { key } = await createApiKey(app, { scope: 'TENANT_WRITE', tenant: 'acme' });
  expect(await postOperation(app.url, { credentials: key, query })).toMatchObject({
    data: { server: { processes: null } },
  });
  const { processes } = (
    await app.graphql<{ server: { processes: { problem: null; nodes: { id: string }[] } } }>(query)
  ).server;
  const node = {
    ...{ hostname: hostname(), pid: process.pid, worker: null, roles: ['api'], nodeVersion: process.versions.node },
    ...{ attemptsInFlight: null, health: { isReady: true } },
  };
  expect(processes).toMatchObject({ problem: null, nodes: [node, node] });
  expect(new Set(processes.nodes.map(({ id }) => id)).size).toBe(2);
});

/** The parts of an answer that do not differ for each request. */
const whole = ({ status, text }: OperationResponse) => ({ status, text });

describe('an API key', () => {
  it('is shown once, stored only as a hash, and never logged', async () => {
    const { id, key } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme', name: 'a canary key' });
    expect((await list(key)).data).toEqual({ webhookSubscriptions: { nodes: [] } });
    const [row] = await services.query<{ hash: string }>(
      `SELECT encode(key_hash, 'hex') AS hash FROM api_keys WHERE id = $1`,
      [id],
    );
    expect(row?.hash).toBe(createHash('sha256').update(key).digest('hex'));
    const [all] = await services.query<{ text: string }>('SELECT json_agg(k)::text AS text FROM api_keys k');
    const listed = await app.graphql('{ apiKeys { nodes { id name scope tenant createdAt lastUsedAt revokedAt } } }');
    for (const text of [all?.text, JSON.stringify(listed), logLines.join('')]) expect(text).not.toContain(key.slice(4));
    expect(JSON.stringify(listed)).toContain(id);
  });

  it.each([
    [{ name: 'x', scope: 'TENANT_READ' }, ['tenant']],
    [{ name: 'x', scope: 'TENANT_WRITE', tenant: null }, ['tenant']],
    [{ name: ' ', scope: 'TENANT_WRITE', tenant: 'a.b' }, ['name', 'tenant']],
    [{ name: 'x', scope: 'ADMIN', tenant: 'acme' }, ['tenant']],
    [{ name: 'x'.repeat(201), scope: 'ADMIN' }, ['name']],
    [{ name: 'a\u0000b', scope: 'PUBLISH' }, ['name']],
  ])('%j is INVALID_INPUT', async (input, paths) => {
    const result = await app.graphql(
      `mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) {
        ... on InvalidInputError { code problems { path } } } }`,
      { input },
    );
    const problems = paths.map((path) => ({ path }));
    expect(result).toEqual({ createApiKey: { code: 'INVALID_INPUT', problems } });
  });

  it('of a tenant cannot be stored with access to every tenant', async () => {
    const insert = `INSERT INTO api_keys (id, name, scope, tenant, key_hash)
      VALUES (gen_random_uuid(), 'x', $1::api_key_scope, $2, sha256($3::bytea))`;
    for (const [scope, tenant] of [
      ['TENANT_READ', null],
      ['TENANT_WRITE', null],
      ['ADMIN', 'acme'],
    ]) {
      await expect(services.query(insert, [scope, tenant, scope ?? ''])).rejects.toThrow('api_keys_tenant_check');
    }
  });

  it('of a tenant permits the operations of its scope, and all others are errors', async () => {
    const mutation = 'mutation { deleteWebhookSubscription(id: "x") { __typename } }';
    const outcomes: Record<string, unknown> = {};
    for (const scope of ['TENANT_WRITE', 'TENANT_READ', 'PUBLISH']) {
      const { key: credentials } = await createApiKey(app, { scope, tenant: 'acme' });
      const answers = [await list(credentials), await postOperation(app.url, { credentials, query: mutation })];
      expect(answers.map(({ status }) => status)).toEqual([200, 200]);
      outcomes[scope] = answers.map((answer) => codesOf(answer)?.[0] ?? 'OK');
      if (scope === 'PUBLISH') {
        expect(answers[0]?.errors?.[0]?.message).toBe(
          'credentials with the scope PUBLISH may not use Query.webhookSubscriptions',
        );
      }
    }
    expect(outcomes).toEqual({
      TENANT_WRITE: ['OK', 'OK'],
      TENANT_READ: ['OK', 'FORBIDDEN'],
      PUBLISH: ['FORBIDDEN', 'FORBIDDEN'],
    });
  });

  it('of an administrator can create, list and revoke keys, and no other key can', async () => {
    const { key: admin } = await createApiKey(app, { scope: 'ADMIN' });
    const made = await createApiKey({ graphql: withKey(admin) }, { scope: 'TENANT_WRITE', tenant: 'minting' });
    for (const scope of ['TENANT_WRITE', 'TENANT_READ', 'PUBLISH']) {
      const { key } = await createApiKey(app, { scope, tenant: 'minting' });
      for (const query of [
        'mutation { createApiKey(input: { name: "x", scope: PUBLISH, tenant: "minting" }) { __typename } }',
        `mutation { revokeApiKey(id: "${made.id}") { __typename } }`,
        '{ apiKeys { nodes { id } } }',
      ]) {
        expect(codesOf(await postOperation(app.url, { credentials: key, query }))).toEqual(['FORBIDDEN']);
      }
    }
    const ids = async (filter: string) => {
      const query = `{ apiKeys(filter: { ${filter} }) { nodes { id scope } } }`;
      const { data } = await postOperation(app.url, { credentials: admin, query });
      return JSON.stringify(data);
    };
    expect(await ids('tenant: "minting"')).toContain(made.id);
    expect(await ids('tenant: "acme"')).not.toContain(made.id);
    await revokeApiKey({ graphql: withKey(admin) }, made.id);
    expect(await ids('tenant: "minting"')).not.toContain(made.id);
    expect(await ids('tenant: "minting", includeRevoked: true')).toContain(made.id);
  });

  it('has the approximate time of its last use in any process, written at most once a minute', async () => {
    const { id, key } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme' });
    const lastUsedAt = async () => {
      const [row] = await services.query<{ at: Date | null }>('SELECT last_used_at AS at FROM api_keys WHERE id = $1', [
        id,
      ]);
      return row?.at;
    };
    expect(await lastUsedAt()).toBeNull();
    // On a busy machine a request can fail. The use of the key is recorded after a successful one.
    const first = await waitFor(async () => (await list(key)).status === 200 && lastUsedAt(), {
      what: 'the first use',
    });
    // When the other process has recorded the use of another key, it has also handled this key.
    const marker = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme' });
    const wasMarked = async (markerId: string) =>
      (await services.query('SELECT FROM api_keys WHERE id = $1 AND last_used_at IS NOT NULL', [markerId])).length ===
      1;
    await list(key, other);
    await waitFor(async () => (await list(marker.key, other)).status === 200 && wasMarked(marker.id), {
      what: 'the marker',
    });
    expect(await lastUsedAt()).toEqual(first);
  });

  it('whose use was not recorded because of an error is recorded with the next use', async () => {
    const { id, key } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme' });
    await services.query(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '57014'; END $$`);
    await services.query(`CREATE TRIGGER refuse BEFORE UPDATE ON api_keys FOR EACH ROW
      WHEN (NEW.id = '${id}') EXECUTE FUNCTION refuse()`);
    const wasRefused = () => logLines.some((line) => line.includes(id) && line.includes('not recorded'));
    await waitFor(async () => (await list(key)).status === 200 && wasRefused(), { what: 'the refusal' });
    await services.query('DROP FUNCTION refuse CASCADE');
    const used = 'SELECT FROM api_keys WHERE id = $1 AND last_used_at IS NOT NULL';
    await waitFor(async () => (await list(key)).status === 200 && (await services.query(used, [id])).length === 1, {
      what: 'the use to be written',
    });
  });

  it('that was last used more than a minute ago is recorded again', async () => {
    const { id, key } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme' });
    await services.query(`UPDATE api_keys SET last_used_at = now() - interval '61 s' WHERE id = $1`, [id]);
    await list(key);
    const recent = `SELECT FROM api_keys WHERE id = $1 AND last_used_at > now() - interval '50 s'`;
    await waitFor(async () => (await services.query(recent, [id])).length === 1, { what: 'the use to be written' });
  });
});

function withKey(credentials: string): TestApp['graphql'] {
  return async <T>(query: string, variables: Record<string, unknown> = {}) => {
    const { data, errors } = await postOperation(app.url, { credentials, query, variables });
    if (errors !== undefined) throw new Error(JSON.stringify(errors));
    // The caller declares the type of the fields it selects.
    return data as T;
  };
}

describe('a key that is revoked', () => {
  it('is rejected at once by the process that revoked it, and soon by every other', async () => {
    const { id, key } = await createApiKey(app, { scope: 'TENANT_WRITE', tenant: 'acme' });
    for (const at of [app, other]) expect((await list(key, at)).status).toBe(200);
    await revokeApiKey(app, id);
    expect((await list(key)).status).toBe(401);
    await waitFor(async () => (await list(key, other)).status === 401, { what: 'the other process' });
  });

  it('keeps the time of its first revocation; the revocation of an unknown key is NOT_FOUND', async () => {
    const { id } = await createApiKey(app, { scope: 'PUBLISH' });
    const query = `mutation ($id: ID!) { revokeApiKey(id: $id) {
      ... on RevokeApiKeyPayload { apiKey { id revokedAt } } ... on Error { code } } }`;
    const first = await app.graphql(query, { id });
    expect(first).toMatchObject({ revokeApiKey: { apiKey: { id, revokedAt: expect.any(String) as string } } });
    expect(await app.graphql(query, { id })).toEqual(first);
    for (const none of ['x', '00000000-0000-7000-8000-000000000000']) {
      expect(await app.graphql(query, { id: none })).toEqual({ revokeApiKey: { code: 'NOT_FOUND' } });
    }
  });

  it('is answered like an unknown, malformed or missing key', async () => {
    const { id, key } = await createApiKey(app, { scope: 'TENANT_WRITE', tenant: 'acme' });
    await revokeApiKey(app, id);
    const none = [`whk_${'a'.repeat(43)}`, 'whk_short', 'nonsense', 'a.b.c', '', `${key}x`, key.toLowerCase()];
    const answers = await Promise.all([key, ...none].map((credentials) => list(credentials)));
    const [first] = answers;
    expect(first).toMatchObject({
      status: 401,
      data: undefined,
      errors: [{ extensions: { code: 'UNAUTHENTICATED' } }],
    });
    for (const answer of answers) expect(whole(answer)).toEqual(first && whole(first));
  });

  it('is rejected even by a process that missed the announcement', async () => {
    const { id, key } = await createApiKey(app, { scope: 'TENANT_WRITE', tenant: 'acme' });
    expect((await list(key)).status).toBe(200);
    await services.query('ALTER TABLE api_keys DISABLE TRIGGER api_key_revoked');
    try {
      await services.query('UPDATE api_keys SET revoked_at = now() WHERE id = $1', [id]);
      await waitFor(async () => (await list(key)).status === 401, { what: 'it to be refused' });
    } finally {
      await services.query('ALTER TABLE api_keys ENABLE TRIGGER api_key_revoked');
    }
  });
});

it('while Postgres is unavailable, no API key is reported as invalid, and the admin key works', async () => {
  const target = new URL(services.databaseUrl);
  const proxy = await startTcpProxy({ port: Number(target.port) });
  target.port = String(proxy.port);
  const cut = await startTestApp({ ...services, databaseUrl: target.href }, { env: { ROLES: 'api' } });
  try {
    const { key } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme' });
    await proxy.stop();
    const answer = await postOperation(cut.url, { credentials: key, query: '{ __typename }' });
    expect(answer).toMatchObject({ status: 503, errors: [{ extensions: { code: 'SERVICE_UNAVAILABLE' } }] });
    expect(await cut.graphql('{ __typename }')).toEqual({ __typename: 'Query' });
    expect((await postOperation(cut.url, { credentials: 'nonsense', query: '{ __typename }' })).status).toBe(401);
    const socket = await openSocket(cut.url, { credentials: key, query: 'subscription { deliveryLog { id } }' });
    await waitFor(() => socket.closedWith(), { what: 'the socket to be closed' });
    // 1013 makes clients reconnect.
    expect(socket.closedWith()?.code).toBe(1013);
  } finally {
    await cut.stop();
    await proxy.stop().catch(() => undefined);
  }
});
