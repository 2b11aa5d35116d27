import { readFileSync } from 'node:fs';
import { buildSchema, Kind, parse, validate } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FIRST_OPERATIONS } from '../../src/server/plugins/graphiql.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { ADMIN_KEY, type Api, startApi } from '../support/graphql-api.ts';
import { runOperation, TRANSPORTS } from '../support/transports.ts';

const CONSOLE = 'https://console.example.com';
const OTHER = 'https://other.example.com';
const authorization = `Bearer ${ADMIN_KEY}`;

let api: Api;
/** A server with the settings of development, and one with those of production and two listed origins. */
let open: ApiServer;
let strict: ApiServer;
beforeAll(async () => {
  api = await startApi();
  open = await startApiServer(api);
  strict = await startApiServer(api, { introspection: false, corsOrigins: [CONSOLE, OTHER] });
});
afterAll(async () => {
  await open.stop();
  await strict.stop();
  await api.stop();
});

const corsHeaders = (response: Response) =>
  Object.fromEntries([...response.headers].filter(([name]) => name.startsWith('access-control-')));

function preflight({ url }: ApiServer, origin: string): Promise<Response> {
  const headers = {
    origin,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization,content-type',
  };
  return fetch(`${url}/graphql`, { method: 'OPTIONS', headers });
}

describe('pages of other origins', () => {
  test.each([CONSOLE, OTHER])(
    'a listed origin, %s, may send requests and read answers, without credentials',
    async (origin) => {
      const answer = await preflight(strict, origin);
      expect(answer.status).toBe(204);
      expect(corsHeaders(answer)).toMatchObject({
        'access-control-allow-origin': origin,
        'access-control-allow-methods': 'GET, POST',
        'access-control-allow-headers': 'authorization,content-type',
      });
      const headers = { origin, authorization };
      const response = await fetch(`${strict.url}/graphql?query={__typename}`, { headers });
      expect(await response.json()).toEqual({ data: { __typename: 'Query' } });
      expect(corsHeaders(response)).toMatchObject({ 'access-control-allow-origin': origin });
      expect(response.headers.has('access-control-allow-credentials')).toBe(false);
    },
  );

  test('a listed origin may also read errors', async () => {
    const response = await fetch(`${strict.url}/graphql?query={__typename}`, { headers: { origin: CONSOLE } });
    expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([401, CONSOLE]);
  });

  test.each(['https://evil.example', 'null', `${CONSOLE}.evil.example`, 'http://console.example.com'])(
    '%s may not read answers',
    async (origin) => {
      for (const server of [open, strict]) {
        expect(corsHeaders(await preflight(server, origin))).toEqual({});
        const headers = { origin, authorization };
        expect(corsHeaders(await fetch(`${server.url}/graphql?query={__typename}`, { headers }))).toEqual({});
      }
    },
  );

  test.each([
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/plain',
    'application/graphql',
  ])('a request that a form can send (%s) is rejected, even with a key', async (contentType) => {
    const headers = { authorization, 'content-type': contentType };
    for (const body of ['query={__typename}', '{ __typename }', '{"query":"{ __typename }"}']) {
      const response = await fetch(`${open.url}/graphql`, { method: 'POST', headers, body });
      expect(response.status).toBe(415);
      expect(await response.text()).not.toContain('"data"');
    }
  });
});

describe('GraphiQL', () => {
  const headers = { accept: 'text/html,application/xhtml+xml' };

  test('is served without a key, with all its code in the page', async () => {
    const response = await fetch(`${open.url}/graphql`, { headers });
    const page = await response.text();
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/html']);
    expect(page).toContain('renderYogaGraphiQL');
    expect(page).not.toMatch(/<(?:script|link)[^>]+(?:src|href)="?https?:/);
    expect(page).not.toContain(ADMIN_KEY);
  });

  test('starts with a valid query, mutation and subscription, and explains where to enter the key', async () => {
    const page = await (await fetch(`${open.url}/graphql`, { headers })).text();
    expect(page).toContain(JSON.stringify(FIRST_OPERATIONS).slice(1, -1));
    expect(page).toContain('"defaultEditorToolsVisibility":"headers"');
    const schema = buildSchema(readFileSync(new URL('../../schema.graphql', import.meta.url), 'utf8'));
    const document = parse(FIRST_OPERATIONS);
    expect(validate(schema, document)).toEqual([]);
    const operations = document.definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
    expect(operations.map(({ operation }) => operation)).toEqual(['query', 'mutation', 'subscription']);
  });

  test('is not served when introspection is off', async () => {
    const response = await fetch(`${strict.url}/graphql`, { headers });
    expect(response.status).toBe(401);
    expect(response.headers.get('content-type')).toContain('application/json');
  });

  test('its page gets no data without a key', async () => {
    const response = await fetch(`${open.url}/graphql?query={deliveries{nodes{id}}}`, { headers });
    expect(await response.text()).not.toContain('"deliveries":');
  });
});

describe('GET /', () => {
  const get = ({ url }: ApiServer, accept: string) => fetch(url, { headers: { accept }, redirect: 'manual' });

  test('redirects a browser to GraphiQL if it is served', async () => {
    const response = await get(open, 'text/html,application/xhtml+xml');
    expect([response.status, response.headers.get('location')]).toEqual([302, 'graphql']);
  });

  test('otherwise lists the paths in plain text', async () => {
    for (const response of [await get(open, '*/*'), await get(strict, 'text/html')]) {
      expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/plain; charset=utf-8']);
      const text = await response.text();
      for (const path of ['POST /graphql', '/health/live', '/health/ready', '/metrics']) expect(text).toContain(path);
    }
    expect((await fetch(open.url, { method: 'POST' })).status).toBe(405);
  });

  test('does not list GraphQL without the role api', async () => {
    const worker = await startApiServer(api, { roles: new Set(['sender']) });
    try {
      const text = await (await get(worker, 'text/html')).text();
      expect(text).toContain('GET /health/ready');
      expect(text).not.toContain('POST /graphql');
    } finally {
      await worker.stop();
    }
  });
});

describe.each(TRANSPORTS)('over %s, with introspection off', (transport) => {
  test.each([
    '{ __schema { queryType { name } } }',
    '{ __type(name: "Delivery") { name } }',
    'query { ...F } fragment F on Query { __schema { types { name } } }',
  ])('%s is rejected', async (query) => {
    expect((await runOperation(strict.url, transport, { query })).errors?.[0]?.message).toContain('introspection');
    expect((await runOperation(open.url, transport, { query })).errors).toBeUndefined();
  });

  test('`__typename` is answered', async () => {
    expect(await runOperation(strict.url, transport, { query: '{ __typename }' })).toEqual({
      data: { __typename: 'Query' },
    });
  });

  test.each([
    ['a field', '{ deliverys { nodes { id } } }', {}],
    ['an argument', '{ deliveries(firs: 1) { nodes { id } } }', {}],
    ['a type', 'query ($f: DeliveryFilte) { deliveries(filter: $f) { nodes { id } } }', {}],
    ['an enum', '{ deliveries(filter: { statuses: [SUCCES] }) { nodes { id } } }', {}],
    ['an input field', '{ deliveries(filter: { tenan: "a" }) { nodes { id } } }', {}],
    ['a field of a union', 'mutation { deleteWebhookSubscription(id: "") { id } }', {}],
    [
      'an input field in a variable',
      'query ($f: DeliveryFilter) { deliveries(filter: $f) { nodes { id } } }',
      { f: { tenan: 'a' } },
    ],
    [
      'an enum in a variable',
      'query ($f: DeliveryFilter) { deliveries(filter: $f) { nodes { id } } }',
      { f: { statuses: ['SUCCES'] } },
    ],
  ])('no error about a misspelled name of %s suggests another name', async (...[, query, variables]) => {
    const told = await runOperation(open.url, transport, { query, variables });
    expect(told.errors?.map(({ message }) => message).join()).toContain('Did you mean');
    const { errors, data } = await runOperation(strict.url, transport, { query, variables });
    expect(data).toBeUndefined();
    expect(errors).not.toEqual([]);
    expect(JSON.stringify(errors)).not.toContain('Did you mean');
  });
});
