import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { type ApiServer, startApiServer, tokenOf } from '../support/api-server.ts';
import { type Api, startApi } from '../support/graphql-api.ts';
import { waitFor } from '../support/wait-for.ts';

const MAX_ANSWER_BYTES = 64 * 1024;
/** CPU milliseconds for one request. Without limits, some of these requests took several seconds. */
const MAX_CPU_MS = 1_000;

let api: Api;
let server: ApiServer;

beforeAll(async () => {
  api = await startApi();
  server = await startApiServer(api, { rateLimit: 100_000 });
});
afterAll(async () => {
  await server.stop();
  await api.stop();
});

type Request = { readonly query: string; readonly operationName?: string; readonly variables?: object };

const times = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, n) => make(n));
const FILTERED = 'query ($filter: DeliveryFilter) { deliveries(filter: $filter) { nodes { id } } }';
const CREATE = `mutation ($input: CreateWebhookSubscriptionInput!) { createWebhookSubscription(input: $input) {
  ... on Error { message } ... on InvalidInputError { problems { path message } } } }`;
/** A filter with only invalid conditions, under names of the maximum length. */
const wrongFilter = (name: string) => Object.fromEntries(times(60, (n) => [`${n}`.padEnd(4) + name, { $gt: null }]));

/** Requests within the limits of HTTP. `size` is the size of their repeated part. */
const REQUESTS: readonly [string, (size: number) => Request][] = [
  [
    'variables that are not ids',
    (size) => ({
      query: FILTERED,
      variables: { filter: { subscriptionIds: times(50, () => ['x'.repeat(size / 50)]) } },
    }),
  ],
  [
    'an object of many names for a string',
    (size) => ({
      query: FILTERED,
      variables: { filter: { tenant: Object.fromEntries(times(size / 20, (n) => [`name-${n}`, n])) } },
    }),
  ],
  [
    'enum values that do not exist',
    (size) => ({ query: FILTERED, variables: { filter: { statuses: times(100, () => 'S'.repeat(size / 100)) } } }),
  ],
  [
    'fields of an input that do not exist',
    (size) => ({
      query: FILTERED,
      variables: { filter: Object.fromEntries(times(size / 100, (n) => [`${n}${'x'.repeat(80)}`, n])) },
    }),
  ],
  [
    'the name of an operation that does not exist',
    (size) => ({ query: '{ __typename }', operationName: 'x'.repeat(size) }),
  ],
  ['names of parameters', (size) => ({ query: '{ __typename }', ['x'.repeat(size)]: 1 })],
  [
    'invalid event types',
    () => ({
      query: CREATE,
      variables: { input: { url: 'https://example.com', eventTypes: times(100, (n) => `${n} `) } },
    }),
  ],
  [
    'names in a payload filter',
    () => ({
      query: CREATE,
      variables: {
        input: { url: 'https://example.com', eventTypes: ['*'], filter: wrongFilter('\u0001'.repeat(250)) },
      },
    }),
  ],
  [
    'an error for each of many aliases',
    () => ({
      query: `mutation ($input: CreateWebhookSubscriptionInput!) { createWebhookSubscription(input: $input) {
        ... on InvalidInputError { ${times(29, (n) => `p${n}: problems { path message }`).join(' ')} } } }`,
      variables: { input: { url: 'https://example.com', eventTypes: times(100, (n) => `${n} `) } },
    }),
  ],
  ...['x', '"'].map((letter): [string, (size: number) => Request] => [
    `a document that is one word of ${letter}`,
    () => ({ query: `{ ${letter.repeat(60_000)} }` }),
  ]),
  [
    'a name that is repeated by each unused variable',
    () => ({ query: `query ${'x'.repeat(50_000)}(${times(300, (n) => `$v${n}: Int`).join(' ')}) { __typename }` }),
  ],
  [
    'literals of the wrong type',
    () => ({
      query: `{ ${times(20, () => `deliveries(first: "${'x'.repeat(2_900)}") { nodes { id } }`).join(' ')} }`,
    }),
  ],
  [
    'fields that do not exist',
    () => ({ query: `{ ${times(30, (n) => `a${n}: ${'webhookSubscriptionss'.repeat(90)}`).join(' ')} }` }),
  ],
  [
    'types that do not exist',
    () => ({
      query: `{ __typename ${times(900, (n) => `... on WebhookSubscriptionConnectio${n} { id }`).join(' ')} }`,
    }),
  ],
  [
    'conflicts of many fields, thousands of lines down',
    () => ({
      query: `{ ${'\n'.repeat(50_000)} ${times(6, (n) => `deliveries(first: ${n}) { nodes { id ${times(140, () => 'x').join(' ')} } }`).join(' ')} }`,
    }),
  ],
];

describe.each([
  ['HTTP', 'application/json'],
  ['SSE', 'text/event-stream'],
])('over %s, the answer to a bad request has at most 64 KiB and takes little CPU time:', (_name, accept) => {
  test.each(REQUESTS)('%s', async (_what, requestOf) => {
    const headers = {
      'content-type': 'application/json',
      authorization: `Bearer ${await tokenOf('rude', 'TENANT_WRITE')}`,
    };
    const body = JSON.stringify(requestOf(1_000_000));
    const cpuBefore = process.cpuUsage();
    const response = await fetch(`${server.url}/graphql`, { method: 'POST', headers: { ...headers, accept }, body });
    const text = await response.text();
    expect(text).toMatch(/"(?:errors|message)":/);
    expect(Buffer.byteLength(text)).toBeLessThan(MAX_ANSWER_BYTES);
    expect(process.cpuUsage(cpuBefore).user / 1_000).toBeLessThan(MAX_CPU_MS);
  });
});

test('over GET, the answer to a bad request has at most 64 KiB', async () => {
  const query = `query ${'x'.repeat(5_000)}(${times(200, (n) => `$v${n}: Int`).join(' ')}) { __typename }`;
  const response = await fetch(`${server.url}/graphql?query=${encodeURIComponent(query)}`, {
    headers: { authorization: `Bearer ${await tokenOf('rude')}` },
  });
  const text = await response.text();
  expect(text).toContain('is never used');
  expect(Buffer.byteLength(text)).toBeLessThan(MAX_ANSWER_BYTES);
});

describe('over WebSocket', () => {
  async function connect() {
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
    onTestFinished(() => {
      socket.terminate();
    });
    const messages: string[] = [];
    let closed: number | undefined;
    socket.on('message', (data: Buffer) => messages.push(data.toString()));
    socket.on('close', (code) => (closed = code));
    await waitFor(() => socket.readyState === WebSocket.OPEN, { what: 'the socket' });
    const authorization = `Bearer ${await tokenOf('rude', 'TENANT_WRITE')}`;
    socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization } }));
    await waitFor(() => messages.length === 1, { what: 'the acknowledgement' });
    return { socket, messages, closed: () => closed };
  }

  test('the answer to a bad request has at most 64 KiB', async () => {
    const { socket, messages } = await connect();
    const requests = REQUESTS.map(([, requestOf]) => requestOf(40_000)).filter(
      (request) => JSON.stringify(request).length < 62_000,
    );
    expect(requests.length).toBeGreaterThan(8);
    for (const [index, payload] of requests.entries()) {
      socket.send(JSON.stringify({ id: `${index}`, type: 'subscribe', payload }));
    }
    const answered = () => new Set(messages.slice(1).map((message) => (JSON.parse(message) as { id: string }).id)).size;
    await waitFor(() => answered() === requests.length, { what: 'all answers' });
    for (const message of messages) expect(Buffer.byteLength(message)).toBeLessThan(MAX_ANSWER_BYTES);
  });

  test('an operation id, which every answer repeats, has at most 128 characters', async () => {
    const { socket, messages, closed } = await connect();
    const ask = (id: string) => {
      socket.send(JSON.stringify({ id, type: 'subscribe', payload: { query: '{ __typename }' } }));
    };
    ask('x'.repeat(128));
    await waitFor(() => messages.length === 3, { what: 'an answer' });
    ask('x'.repeat(129));
    await waitFor(() => closed() !== undefined, { what: 'the end' });
    expect(closed()).toBe(4400);
    expect(messages).toHaveLength(3);
  });
});
