import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApiKey, revokeApiKey } from '../support/api-keys.ts';
import { type OperationResponse, openEvents, openSocket, postOperation } from '../support/graphql-client.ts';
import {
  ADMIN_API_KEY,
  startTestApp,
  startTestServices,
  type TestApp,
  type TestServices,
} from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

type Issued = { readonly session: { readonly id: string }; readonly token: string; readonly code: string };

let services: TestServices;
let app: TestApp;
let other: TestApp;

beforeAll(async () => {
  services = await startTestServices();
  app = await startTestApp(services, { env: { PUBLIC_URL: 'https://hooks.example.com/engine' } });
  other = await startTestApp(services, { env: { ROLES: 'api' } });
});
afterAll(async () => {
  await Promise.all([app.stop(), other.stop()]);
  await services.stop();
});

const ISSUED = '{ session { id scope tenant subject kind } token code url }';

async function portal(credentials: string, input: string): Promise<OperationResponse> {
  const query = `mutation { createPortalSession(input: { ${input} }) {
    ... on CreatePortalSessionPayload ${ISSUED} ... on InvalidInputError { problems { path } } ... on Error { code } } }`;
  return postOperation(app.url, { credentials, query });
}

async function issue(input = '', credentials = ADMIN_API_KEY): Promise<Issued> {
  const { data } = await portal(credentials, `${credentials === ADMIN_API_KEY ? 'tenant: "acme"' : ''} ${input}`);
  // `as`: the type of the fields selected above.
  return data?.['createPortalSession'] as Issued;
}

const EXCHANGE =
  'mutation ($code: String!) { exchangePortalCode(code: $code) { __typename ... on ExchangePortalCodePayload { token } ... on Error { code } } }';

async function exchange(code: string, url = app.url, padding = '') {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query: EXCHANGE + padding, variables: { code } }),
  });
  const { data } = (await response.json()) as { data?: { exchangePortalCode: { token?: string; code?: string } } };
  return { status: response.status, ...data?.exchangePortalCode };
}

const statusOf = async (token: string, url = app.url) =>
  (await postOperation(url, { credentials: token, query: '{ viewer { scope } }' })).status;

describe('a code', () => {
  it('is exchanged once, by one of many requests at the same time, without another credential', async () => {
    const { code, token } = await issue();
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, n) => exchange(code, n % 2 === 0 ? app.url : other.url)),
    );
    const tokens = answers.flatMap((answer) => answer.token ?? []);
    expect(tokens).toHaveLength(1);
    expect(await statusOf(tokens[0] ?? '')).toBe(200);
    // Rejected when the entries in the cache of five seconds have expired.
    await waitFor(async () => (await statusOf(token)) === 401, { what: 'the end of the first token' });
    await waitFor(async () => (await exchange(code)).status === 401, { what: 'the end of the code' });
  });

  it('is part of a link that browsers do not send', async () => {
    const { data } = await portal(ADMIN_API_KEY, 'tenant: "acme", subject: "user 42", scope: TENANT_WRITE');
    const { code, url, session } = data?.['createPortalSession'] as Issued & { url: string };
    expect(url).toBe(`https://hooks.example.com/engine/portal/#code=${code}`);
    expect(session).toMatchObject({ scope: 'TENANT_WRITE', tenant: 'acme', subject: 'user 42', kind: 'PORTAL' });
  });

  it('is rejected after 60 s, after the revocation of its session, in a large request, and for other operations', async () => {
    const [late, revoked, good] = [await issue(), await issue(), await issue()];
    await services.query(`UPDATE api_keys SET code_expires_at = now() - interval '1 ms' WHERE id = $1`, [
      late.session.id,
    ]);
    await services.query('UPDATE api_keys SET revoked_at = now() WHERE id = $1', [revoked.session.id]);
    expect((await exchange(late.code)).status).toBe(401);
    expect((await exchange(revoked.code)).status).toBe(401);
    expect((await exchange(good.code, app.url, ' '.repeat(2_048))).status).toBe(401);
    const { errors } = await postOperation(app.url, {
      credentials: good.code,
      query: '{ deliveries { nodes { id } } }',
    });
    expect(errors?.[0]?.extensions?.['code']).toBe('FORBIDDEN');
  });
});

describe('a session of the portal', () => {
  it('cannot create a session, a key or an event, with any scope', async () => {
    const { token } = await issue('scope: TENANT_WRITE');
    for (const operation of [
      'createPortalSession(input: {})',
      'createConsoleSession',
      'revokePortalSession(id: "x")',
      'createApiKey(input: { name: "x", scope: TENANT_READ, tenant: "acme" })',
      'publishEvent(input: { type: "x", data: 1 })',
    ]) {
      const { errors } = await postOperation(app.url, {
        credentials: token,
        query: `mutation { ${operation} { __typename } }`,
      });
      expect([operation, errors?.[0]?.extensions?.['code']]).toEqual([operation, 'FORBIDDEN']);
    }
  });

  it('can be created with the write key of its tenant for this tenant only, and with no read key', async () => {
    const writer = await createApiKey(app, { scope: 'TENANT_WRITE', tenant: 'acme' });
    const reader = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme' });
    expect(await statusOf((await issue('', writer.key)).token)).toBe(200);
    const { data } = await portal(writer.key, 'tenant: "umbrella"');
    expect(data?.['createPortalSession']).toMatchObject({ code: 'INVALID_INPUT', problems: [{ path: 'tenant' }] });
    expect((await portal(reader.key, '')).errors?.[0]?.extensions?.['code']).toBe('FORBIDDEN');
  });

  it('reports every problem of its input', async () => {
    const unknown = '01900000-0000-7000-8000-000000000000';
    const { data } = await portal(
      ADMIN_API_KEY,
      `tenant: "acme", scope: ADMIN, ttlSeconds: 5, subject: "a\\u0007", locale: "no locale", subscriptionIds: ["${unknown}"]`,
    );
    const { problems } = data?.['createPortalSession'] as { problems: { path: string }[] };
    const paths = ['scope', 'ttlSeconds', 'subject', 'locale', 'subscriptionIds.0'];
    expect(problems.map(({ path }) => path)).toEqual(paths);
    const none = await portal(ADMIN_API_KEY, 'subscriptionIds: []');
    expect(none.data?.['createPortalSession']).toMatchObject({ problems: [{ path: 'tenant' }] });
  });

  it('ends with its streams and sockets in every process when it is revoked, or when its key is', async () => {
    const { id, key } = await createApiKey(app, { scope: 'TENANT_WRITE', tenant: 'acme' });
    const [revoked, orphaned, kept] = [await issue(), await issue('', key), await issue()];
    const query = 'subscription { deliveryLog { id } }';
    const open = ({ token: credentials }: Issued) =>
      Promise.all([openSocket(other.url, { credentials, query }), openEvents(other.url, { credentials, query })]);
    const streams = { revoked: await open(revoked), orphaned: await open(orphaned), kept: await open(kept) };
    const revoke = `mutation { revokePortalSession(id: "${revoked.session.id}") { __typename } }`;
    expect((await postOperation(app.url, { credentials: key, query: revoke })).data).toEqual({
      revokePortalSession: { __typename: 'RevokePortalSessionPayload' },
    });
    await revokeApiKey(app, id);
    const ended = [...streams.revoked, ...streams.orphaned];
    await waitFor(() => ended.every((stream) => stream.isOver()), { what: 'the end of the streams' });
    expect(streams.kept.map((stream) => stream.isOver())).toEqual([false, false]);
    for (const stream of [...ended, ...streams.kept]) stream.close();
    for (const { token } of [revoked, orphaned]) {
      await waitFor(async () => (await statusOf(token, other.url)) === 401, { what: 'the refusal' });
    }
  });

  it('ends when it expires, even while it is in the cache', async () => {
    const { session, token } = await issue();
    await services.query(`UPDATE api_keys SET expires_at = now() + interval '5 s' WHERE id = $1`, [session.id]);
    expect(await statusOf(token)).toBe(200);
    const stream = await openSocket(app.url, { credentials: token, query: 'subscription { deliveryLog { id } }' });
    await waitFor(() => stream.isOver(), { what: 'the end' });
    expect(await statusOf(token)).toBe(401);
  });

  it('is limited to 1,000 per tenant', async () => {
    await services.query(
      `INSERT INTO api_keys (id, kind, name, scope, tenant, key_hash, expires_at, issuer)
       SELECT gen_random_uuid(), 'PORTAL', '', 'TENANT_READ', 'full', sha256(n::text::bytea), now() + interval '1 h', gen_random_uuid()
       FROM generate_series(1, 1000) n`,
    );
    const { data } = await portal(ADMIN_API_KEY, 'tenant: "full"');
    expect(data?.['createPortalSession']).toEqual({ code: 'TOO_MANY_SESSIONS' });
  });
});

describe('a session of the console', () => {
  const sessionOf = async (key: string) => {
    const query = `mutation { createConsoleSession { ... on CreateConsoleSessionPayload ${ISSUED} } }`;
    return (await postOperation(app.url, { credentials: key, query })).data?.['createConsoleSession'] as Issued;
  };

  it('has the rights of its key, except creating console sessions or admin keys, and can end itself', async () => {
    const { token } = await sessionOf(ADMIN_API_KEY);
    const run = (query: string) => postOperation(app.url, { credentials: token, query });
    expect((await run('{ viewer { scope } apiKeys { nodes { id name } } }')).data).toMatchObject({
      viewer: { scope: 'ADMIN' },
    });
    expect((await run('mutation { createConsoleSession { __typename } }')).errors?.[0]?.extensions?.['code']).toBe(
      'FORBIDDEN',
    );
    const create = (scope: string) =>
      run(`mutation { createApiKey(input: { name: "x", scope: ${scope} }) { __typename } }`);
    expect((await create('ADMIN')).data).toEqual({ createApiKey: { __typename: 'InvalidInputError' } });
    expect((await create('PUBLISH')).data).toEqual({ createApiKey: { __typename: 'CreateApiKeyPayload' } });
    expect(await statusOf((await issue('tenant: "acme"', token)).token)).toBe(200);
    expect((await run('mutation { endSession { ... on EndSessionPayload { session { kind } } } }')).data).toEqual({
      endSession: { session: { kind: 'CONSOLE' } },
    });
    expect(await statusOf(token)).toBe(401);
  });

  it('is not valid in a process with another admin key', async () => {
    const { token } = await sessionOf(ADMIN_API_KEY);
    expect(await statusOf(token, other.url)).toBe(200);
    const rotated = await startTestApp(services, { env: { ROLES: 'api', ADMIN_API_KEY: 'x'.repeat(32) } });
    expect(await statusOf(token, rotated.url)).toBe(401);
    await rotated.stop();
  });

  it('is not an API key: it is not listed, and an API key is not a session', async () => {
    const { id, key } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme' });
    const { session } = await sessionOf(key);
    const { text } = await postOperation(app.url, {
      credentials: ADMIN_API_KEY,
      query: '{ apiKeys(first: 250) { nodes { id } } }',
    });
    expect([text.includes(id), text.includes(session.id)]).toEqual([true, false]);
    for (const operation of [`revokeApiKey(id: "${session.id}")`, `revokePortalSession(id: "${id}")`]) {
      const query = `mutation { ${operation} { ... on Error { code } } }`;
      expect(JSON.stringify((await postOperation(app.url, { credentials: ADMIN_API_KEY, query })).data)).toContain(
        'NOT_FOUND',
      );
    }
    expect(
      (await postOperation(app.url, { credentials: key, query: 'mutation { endSession { ... on Error { code } } }' }))
        .data,
    ).toEqual({
      endSession: { code: 'NOT_FOUND' },
    });
  });
});
