import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { ADMIN_KEY, type Api, startApi } from '../support/graphql-api.ts';
import { type OperationResult, runOperation, TRANSPORTS } from '../support/transports.ts';

let api: Api;
let server: ApiServer;
beforeAll(async () => {
  api = await startApi();
  server = await startApiServer(api);
});
afterAll(async () => {
  await server.stop();
  await api.stop();
});

const codeOf = ({ errors }: OperationResult) => errors?.[0]?.extensions?.['code'];
const problemsOf = ({ errors }: OperationResult) => errors?.[0]?.extensions?.['problems'];

/** Posts JSON text, which can contain numbers that no JavaScript value has. */
async function post(body: string): Promise<OperationResult> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${ADMIN_KEY}` };
  const response = await fetch(`${server.url}/graphql`, { method: 'POST', headers, body });
  // `as`: the tests check the content of the answer.
  return (await response.json()) as OperationResult;
}

describe('the data of an event', () => {
  test('may be null, and is shown as null among other data', async () => {
    const times = [1, 2, 3].map((number) => Date.now() + number);
    const ids = times.map((time) => uuid7(time));
    await api.database.prisma.event.createMany({
      data: ids.map((id, index) => ({
        id,
        eventId: id,
        tenant: 'nulls',
        type: 'a',
        occurredAt: new Date(),
        data: Buffer.from(['1', 'null', ' null\n'][index] ?? ''),
      })),
    });
    const query = '{ events(filter: { tenant: "nulls" }) { nodes { data } } }';
    expect(await runOperation(server.url, 'HTTP', { query })).toEqual({
      data: { events: { nodes: [{ data: null }, { data: null }, { data: 1 }] } },
    });
  });

  const publish = (data: string) =>
    `mutation { publishEvent(input: { tenant: "acme", type: "a", data: ${data} }) { ... on InvalidInputError { problems { path message } } } }`;
  const refused = {
    publishEvent: { problems: [{ path: 'data', message: expect.stringContaining('double') as unknown }] },
  };
  test.each(['1e400', '-1e400', '[1, {a: [1e999]}]', '9'.repeat(400)])(
    'must not contain the number of the literal %s',
    async (data) => {
      expect(await runOperation(server.url, 'HTTP', { query: publish(data) })).toEqual({ data: refused });
    },
  );

  test.each(['1e400', '{"a":[{"b":-1e400}]}'])('must not contain the number of the variable %s', async (data) => {
    const query = publish('$data').replace('mutation', 'mutation ($data: JSON!)');
    expect(await post(`{"query":${JSON.stringify(query)},"variables":{"data":${data}}}`)).toEqual({ data: refused });
  });
});

test.each([
  ['data of a test of a filter', '{ testFilter(filter: {a: 1}, data: {a: 1e400}) { matches } }', 'data'],
  ['a filter', '{ testFilter(filter: {a: 1e400}, data: {}) { matches } }', 'filter.a'],
])('%s must not contain a number outside the range of a double', async (_what, query, path) => {
  const problems = [{ path, message: 'must not contain numbers outside the range of a double' }];
  expect(problemsOf(await runOperation(server.url, 'HTTP', { query }))).toMatchObject(problems);
});

test('a schema of the event catalogue must not contain a number outside the range of a double', async () => {
  const query = `mutation { putEventType(input: { name: "a", schema: { maximum: 1e400 } }) {
    ... on InvalidInputError { problems { path message } } } }`;
  const problems = [{ path: 'schema', message: 'must not contain numbers outside the range of a double' }];
  expect(await runOperation(server.url, 'HTTP', { query })).toEqual({ data: { putEventType: { problems } } });
});

describe('a page', () => {
  const cursor = Buffer.from(`GPC:S:${uuid7(0)}`).toString('base64');
  test.each([
    ['first: 1, last: 1', 'last'],
    [`first: 1, before: "${cursor}"`, 'before'],
    [`last: 1, after: "${cursor}"`, 'after'],
    [`after: "${cursor}", before: "${cursor}"`, 'before'],
    ['first: -1', 'first'],
    ['last: -1', 'last'],
    ['first: 251', 'first'],
  ])('must not have %s', async (args, path) => {
    for (const field of ['webhookSubscriptions', 'events', 'deliveryLog', 'replays', 'apiKeys', 'rejectedEvents']) {
      const answer = await runOperation(server.url, 'HTTP', { query: `{ ${field}(${args}) { nodes { id } } }` });
      expect([field, codeOf(answer), problemsOf(answer)]).toEqual([
        ...[field, 'INVALID_INPUT'],
        [{ path, message: expect.any(String) as unknown, code: 'INVALID_INPUT' }],
      ]);
    }
    const id = uuid7(0);
    await api.database.prisma.event.upsert({
      where: { id },
      create: { id, eventId: id, tenant: 'pages', type: 'a', occurredAt: new Date(), data: Buffer.from('1') },
      update: {},
    });
    const query = `{ event(id: "${id}", tenant: "pages") { considered(${args}) { nodes { __typename } } } }`;
    expect(problemsOf(await runOperation(server.url, 'HTTP', { query }))).toMatchObject([{ path }]);
  });
});

describe.each(TRANSPORTS)('over %s', (transport) => {
  const deep = (open: string, close: string, levels: number) => `${open.repeat(levels)}1${close.repeat(levels)}`;
  test.each([
    ['a deep list', `{ testFilter(filter: {a: 1}, data: ${deep('[', ']', 1_200)}) { matches } }`],
    ['the deepest list', `{ testFilter(filter: {a: 1}, data: ${deep('[', ']', 2_400)}) { matches } }`],
    ['a deep object', `{ testFilter(filter: {a: 1}, data: ${deep('{a:', '}', 1_200)}) { matches } }`],
    ['an unclosed list', `{ testFilter(data: ${'['.repeat(4_900)}`],
    ['a deep type', `query ($a: ${'['.repeat(2_400)}Int${']'.repeat(2_400)}) { __typename }`],
    ['a deep selection', `{ ${'a{'.repeat(2_400)}`],
  ])('%s is an error of validation', async (_what, query) => {
    expect(codeOf(await runOperation(server.url, transport, { query }))).toBe('GRAPHQL_VALIDATION_FAILED');
  });

  test('brackets in strings and comments do not count as nesting', async () => {
    const brackets = '[{('.repeat(1_000);
    const query = `{ #${brackets}
      testFilter(filter: {a: "${brackets}\\"${brackets}", b: """${brackets}\\"""${brackets}"""}, data: {}) { matches } }`;
    expect(await runOperation(server.url, transport, { query })).toEqual({ data: { testFilter: { matches: false } } });
  });

  test.each([
    ['a list', (levels: number) => deep('[', ']', levels)],
    ['an object', (levels: number) => deep('{a:', '}', levels)],
  ])('data may be %s of 1,000 levels, and not of 1,001', async (_what, nested) => {
    const query = (levels: number) => `{ testFilter(filter: {a: 1}, data: ${nested(levels)}) { failedPaths } }`;
    expect(await runOperation(server.url, transport, { query: query(1_000) })).toHaveProperty(
      'data.testFilter.failedPaths',
    );
    expect(codeOf(await runOperation(server.url, transport, { query: query(1_001) }))).toBe('INVALID_INPUT');
  });

  test.each([
    ['on the field', 'subscription ($on: Boolean = true) { deliveryLog @include(if: $on) { id } }'],
    ['that is constant', 'subscription { deliveryLog @skip(if: false) { id } }'],
    ['on an inline fragment', 'subscription { ... @include(if: true) { deliveryLog { id } } }'],
    [
      'on a fragment spread',
      'subscription { ...F @skip(if: false) } fragment F on Subscription { deliveryLog { id } }',
    ],
    ['inside a fragment', 'subscription { ...F } fragment F on Subscription { deliveryLog @skip(if: true) { id } }'],
    [
      'inside a fragment of a fragment',
      `subscription { ...F } fragment F on Subscription { ... on Subscription { ...G } }
       fragment G on Subscription { replayProgress(id: "a") @include(if: false) { id } }`,
    ],
    ['on the typename', 'subscription { deliveryLog { id } __typename @skip(if: true) }'],
  ])('a condition %s of a subscription is an error of validation', async (_where, query) => {
    const { errors } = await runOperation(server.url, transport, { query });
    expect(errors).toContainEqual(
      expect.objectContaining({
        message: 'the root field of a subscription must not have @skip or @include',
        extensions: { code: 'GRAPHQL_VALIDATION_FAILED' },
      }),
    );
  });

  test('a condition below the root of a subscription, or in a query, is allowed', async () => {
    const query = `query A { ...F @skip(if: true) version: __typename @include(if: true) } fragment F on Query { __typename }
      subscription B { deliveryLog { id @skip(if: true) cursor } }`;
    expect(codeOf(await runOperation(server.url, transport, { query }))).not.toBe('GRAPHQL_VALIDATION_FAILED');
  });
});

test.each(['[', '{"a":'])(
  'variables nested as deeply as a body allows are an error of the request: %s',
  async (open) => {
    const close = open === '[' ? ']' : '}';
    const value = `${open.repeat(200_000)}1${close.repeat(200_000)}`;
    const query = `query ($data: JSON!, $ids: [ID!]) {
    testFilter(filter: {a: 1}, data: $data) { matches }
    webhookSubscriptions(filter: { subscriptionIds: $ids }) { nodes { id } }
  }`;
    const runWith = (variables: string) => post(`{"query":${JSON.stringify(query)},"variables":${variables}}`);
    expect(codeOf(await runWith(`{"data":${value}}`))).toBe('INVALID_INPUT');
    expect(codeOf(await runWith(`{"data":{},"ids":${value}}`))).toBe('GRAPHQL_VALIDATION_FAILED');
    expect(await runWith(`{"data":{"a":1},"unknown":${value}}`)).toMatchObject({
      data: { testFilter: { matches: true } },
    });
  },
);

describe('over plain HTTP', () => {
  async function send(lines: string): Promise<string> {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.write(lines.replaceAll('\n', '\r\n'));
    await once(socket, 'close');
    return text;
  }
  const statusOf = async (lines: string) => (await send(lines)).slice(0, 12).replace(/^HTTP\/1\.\d /, '');

  test.each(['/health/live', '/health/ready', '/health/live/', '/health/ready/', '/health/ready/?verbose'])(
    '%s is answered, even over HTTP/1.0 without a Host',
    async (path) => {
      expect(await statusOf(`GET ${path} HTTP/1.0\n\n`)).toBe('200');
      expect(await statusOf(`HEAD ${path} HTTP/1.0\n\n`)).toBe('200');
      expect(await statusOf(`GET ${path} HTTP/1.1\nHost:\nConnection: close\n\n`)).toBe('200');
      expect(await statusOf(`GET http://a.internal${path} HTTP/1.1\nHost: b\nConnection: close\n\n`)).toBe('200');
    },
  );

  test.each(['/metrics', '/metrics/'])('%s is answered with the key', async (path) => {
    expect(await statusOf(`GET ${path} HTTP/1.0\n\n`)).toBe('401');
    expect(await statusOf(`GET ${path} HTTP/1.0\nAuthorization: Bearer ${ADMIN_KEY}\n\n`)).toBe('200');
  });

  test.each(['/graphql', '/graphql/'])('%s is answered', async (path) => {
    const query = `${path}?query={__typename}`;
    const authorization = `Authorization: Bearer ${ADMIN_KEY}\nConnection: close\n`;
    expect(await statusOf(`GET ${query} HTTP/1.0\n${authorization}\n`)).toBe('200');
    expect(await send(`GET ${query} HTTP/1.1\nHost: a\n${authorization}\n`)).toContain('"Query"');
    expect(await send(`GET http://b:1${query} HTTP/1.1\nHost: b:1\n${authorization}\n`)).toContain('"Query"');
    const response = await fetch(`${server.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${ADMIN_KEY}` },
      body: JSON.stringify({ query: '{ __typename }' }),
    });
    expect(await response.json()).toEqual({ data: { __typename: 'Query' } });
  });

  test('a WebSocket can also be opened at /graphql/', async () => {
    const upgrade = 'Host: a\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n';
    const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Protocol: graphql-transport-ws\n';
    expect(await statusOf(`GET /graphql/ HTTP/1.1\n${upgrade}${key}\n`)).toBe('101');
  });

  test.each(['/health/ready//', '/graphqls/', '/graphql/x'])('%s is not found', async (path) => {
    expect(await statusOf(`GET ${path} HTTP/1.0\n\n`)).toBe('404');
  });

  test('HTTP/1.1 without a Host, and any version with an invalid Host, is a bad request', async () => {
    expect(await statusOf('GET /health/live HTTP/1.1\nConnection: close\n\n')).toBe('400');
    expect(await statusOf('GET /health/live HTTP/1.1\nHost: a b\nConnection: close\n\n')).toBe('400');
    expect(await statusOf('GET /health/live HTTP/1.0\nHost: [::\n\n')).toBe('400');
  });
});
