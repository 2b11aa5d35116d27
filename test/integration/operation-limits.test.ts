import { getIntrospectionQuery } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { type Api, startApi } from '../support/graphql-api.ts';
import { runOperation, TRANSPORTS } from '../support/transports.ts';

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

const ATTEMPT = `id cursor tenant eventType number status failureReason statusCode responseTimeMs startedAt requestHeaders
  responseHeaders responseBody responseBodyTruncated errorMessage payloadSizeBytes`;
const CONSOLE = `query ($deliveries: Int, $attempts: Int) {
  deliveries(first: $deliveries) {
    pageInfo { hasNextPage endCursor }
    edges { cursor node {
      id tenant status attemptCount nextAttemptAt waitingFor createdAt completedAt
      subscription { id url }
      event { id tenant type occurredAt createdAt data }
      attempts(first: $attempts) { edges { node { ${ATTEMPT} } } }
    } }
  }
}`;

function repeat(count: number, text: (index: number) => string): string {
  return Array.from({ length: count }, (_, index) => text(index)).join(' ');
}
const nest = (depth: number) =>
  `{ ${'deliveries { nodes { event { '.repeat(depth / 3)} id ${'} } }'.repeat(depth / 3)} }`;
const mutate = (count: number) =>
  `mutation { ${repeat(count, (n) => `m${n}: deleteWebhookSubscription(id: "none") { __typename }`)} }`;
/** Each fragment spreads the next one twice: 2^20 aliases in all. */
const DOUBLING = `{ ...F0 } ${repeat(20, (n) => `fragment F${n} on Query { ...F${n + 1} ...F${n + 1} }`)}
  fragment F20 on Query { alias: __typename }`;
const LIVE = (first: number) =>
  `subscription { deliveryLog { delivery { attempts(first: ${first}) { nodes { id } } } } }`;

describe.each(TRANSPORTS)('over %s', (transport) => {
  test.each([
    ['depth', 12, 13, nest(12)],
    [
      'depth',
      12,
      13,
      `{ ...F } fragment F on Query { deliveries { nodes { ... on Delivery { ...G } } } }
      fragment G on Delivery { event { deliveries { nodes { event { deliveries { nodes { event { deliveries { nodes { event { id } } } } } } } } } } }`,
    ],
    ['aliases', 30, 31, `{ ${repeat(31, (n) => `a${n}: __typename`)} }`],
    ['aliases', 30, 2 ** 20, DOUBLING],
    ['directives', 50, 51, `{ ${repeat(51, () => '__typename @include(if: true)')} }`],
    ['mutations', 5, 6, mutate(6)],
    ['tokens', 5_000, undefined, `{ ${'__typename '.repeat(5_000)} }`],
    ['cost', 100_000, 125_501, '{ deliveries(first: 250) { nodes { attempts(last: 250) { nodes { id } } } } }'],
    ['cost', 100_000, 125_501, '{ events(first: 250) { nodes { considered(first: 250) { nodes { result } } } } }'],
  ])('an operation beyond the limit of %s, %i, is rejected', async (...[limit, max, actual, query]) => {
    const { errors, data } = await runOperation(server.url, transport, { query });
    expect(errors).toMatchObject([
      { extensions: { code: 'LIMIT_EXCEEDED', limit, max, ...(actual !== undefined && { actual }) } },
    ]);
    expect(errors?.[0]?.message).toContain(limit);
    expect(data).toBeUndefined();
  });

  test('a console gets 50 deliveries with their events and 10 whole attempts each, but not 250 times 250', async () => {
    const query = CONSOLE;
    const answer = await runOperation(server.url, transport, { query, variables: { deliveries: 50, attempts: 10 } });
    expect(answer).toEqual({ data: { deliveries: { pageInfo: { hasNextPage: false, endCursor: null }, edges: [] } } });
    const { errors } = await runOperation(server.url, transport, {
      query,
      variables: { deliveries: 250, attempts: 250 },
    });
    expect(errors).toMatchObject([{ extensions: { code: 'LIMIT_EXCEEDED', limit: 'cost' } }]);
  });

  test('an operation at each limit is accepted', async () => {
    const queries = [
      `{ ${repeat(30, (n) => `a${n}: __typename`)} }`,
      `{ ${repeat(50, () => '__typename @include(if: true)')} }`,
      `{ deliveryLog(first: 250) { edges { node { ${ATTEMPT} } } } }`,
      mutate(5),
      '{ webhookSubscriptions(first: 2) { edges { node { deliveries(first: 2) { edges { node { attempts(first: 2) { edges { node { subscription { circuit { state } } } } } } } } } } }'.concat(
        ' }',
      ),
      getIntrospectionQuery(),
    ];
    for (const query of queries) expect((await runOperation(server.url, transport, { query })).errors).toBeUndefined();
  });
});

describe.each(['SSE', 'WebSocket'] as const)('over %s', (transport) => {
  test('a live stream of costly values is rejected before it begins', async () => {
    const { errors } = await runOperation(server.url, transport, { query: LIVE(250) });
    expect(errors).toMatchObject([{ extensions: { code: 'LIMIT_EXCEEDED', limit: 'cost', max: 500 } }]);
  });
});

test('no document keeps the server busy for long', async () => {
  const documents = [
    `{ ${'a {'.repeat(1_650)} a ${'}'.repeat(1_650)} }`,
    `{ ${'deliveries { nodes { id } } '.repeat(700)} }`,
    `{ ${repeat(600, (n) => `deliveries(first: ${n}) { pageInfo { hasNextPage } }`)} }`,
    `{ ${repeat(400, (n) => `...F${n}`)} } ${repeat(400, (n) => `fragment F${n} on Query { __typename }`)}`,
    '{ ...F } fragment F on Query { ...F }',
  ];
  for (const query of documents) {
    const { data, errors } = await runOperation(server.url, 'HTTP', { query });
    expect(data ?? errors).toBeDefined();
  }
});

test('the cost is that of the executed operation, not of another one in the document', async () => {
  const query = `query Cheap { __typename } query Dear { ${CONSOLE.slice(CONSOLE.indexOf('deliveries('), -1)} }`
    .replaceAll('$deliveries', '250')
    .replaceAll('$attempts', '250');
  const run = (operationName: string) => runOperation(server.url, 'HTTP', { query, operationName });
  expect(await run('Cheap')).toEqual({ data: { __typename: 'Query' } });
  expect((await run('Dear')).errors).toMatchObject([{ extensions: { limit: 'cost' } }]);
});
