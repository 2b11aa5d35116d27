import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ApiServer, startApiServer, tokenOf } from '../support/api-server.ts';
import { type Api, attemptOf, deliveryOf, startApi, storeAttempt } from '../support/graphql-api.ts';
import { createSocketClient } from '../support/graphql-client.ts';
import { type OperationResult, runOperation, TRANSPORTS } from '../support/transports.ts';

let api: Api;
let server: ApiServer;
let tenants: ApiServer;
beforeAll(async () => {
  api = await startApi();
  server = await startApiServer(api, { rateLimit: 1 });
  tenants = await startApiServer(api, { rateLimit: 1 });
});
afterAll(async () => {
  await tenants.stop();
  await server.stop();
  await api.stop();
});

async function get(tenant: string, accept = 'application/json'): Promise<Response> {
  const headers = { authorization: `Bearer ${await tokenOf(tenant)}`, accept };
  return fetch(`${tenants.url}/graphql?query={__typename}`, { headers });
}

describe('the rate limit', () => {
  test.each(['application/json', 'text/event-stream'])('is 429 with Retry-After over HTTP (%s)', async (accept) => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => get(accept.replace('/', '-'), accept)));
    const refused = answers.filter(({ status }) => status === 429);
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(2);
    expect(refused.length).toBeGreaterThan(5);
    expect(refused[0]?.headers.get('retry-after')).toBe('1');
    expect(await refused[0]?.json()).toMatchObject({ errors: [{ extensions: { code: 'RATE_LIMITED' } }] });
    expect((await get('another', accept)).status).toBe(200);
  });

  test('is an error over WebSocket, and the socket stays open', async () => {
    const client = createSocketClient(tenants.url, await tokenOf('socket'));
    const run = () =>
      client
        .iterate({ query: '{ __typename }' })
        .next()
        .then(({ value }): unknown => value)
        .catch((errors: unknown) => errors);
    const answers = await Promise.all(Array.from({ length: 10 }, run));
    const limited = answers.filter((answer) => JSON.stringify(answer).includes('RATE_LIMITED'));
    expect(answers.length - limited.length).toBeGreaterThanOrEqual(2);
    expect(limited[0]).toMatchObject([{ extensions: { code: 'RATE_LIMITED' } }]);
    await client.dispose();
  });

  test('does not apply to the admin', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => runOperation(server.url, 'HTTP', { query: '{ __typename }' })),
    );
    expect(answers.every(({ errors }) => errors === undefined)).toBe(true);
  });
});

describe.each(TRANSPORTS)('over %s', (transport) => {
  test.each([
    ['a document that cannot be read', { query: '{ __typename' }, 'GRAPHQL_PARSE_FAILED'],
    ['a field that does not exist', { query: '{ nothing }' }, 'GRAPHQL_VALIDATION_FAILED'],
    [
      'a variable that is missing',
      { query: 'query ($id: ID!) { delivery(id: $id) { id } }' },
      'GRAPHQL_VALIDATION_FAILED',
    ],
    [
      'a variable of another type',
      {
        query: 'query ($from: DateTime) { deliveries(filter: { from: $from }) { nodes { id } } }',
        variables: { from: 'today' },
      },
      'GRAPHQL_VALIDATION_FAILED',
    ],
  ])('%s has an error code', async (_what, request, code) => {
    const { errors } = await runOperation(server.url, transport, request);
    expect(errors).toMatchObject([{ extensions: { code } }]);
  });

  test('an error lists the problems of the arguments with their paths', async () => {
    const tested = await runOperation(server.url, transport, {
      query: 'query ($filter: JSON!) { testFilter(filter: $filter, data: {}) { matches } }',
      variables: { filter: { user: { $foo: 1 }, $bar: 2 } },
    });
    const problemsOf = ({ errors }: OperationResult) => errors?.[0]?.extensions?.['problems'];
    expect(tested.errors).toMatchObject([{ path: ['testFilter'], extensions: { code: 'INVALID_INPUT' } }]);
    expect(problemsOf(tested)).toEqual(
      ['filter.user.$foo', 'filter.$bar'].map((path) => ({
        path,
        code: 'INVALID_INPUT',
        message: expect.stringContaining('operator') as unknown,
      })),
    );
    const paged = await runOperation(server.url, transport, { query: '{ deliveryLog(first: 251) { nodes { id } } }' });
    expect(problemsOf(paged)).toEqual([{ path: 'first', code: 'INVALID_INPUT', message: 'may be at most 250' }]);
    if (transport === 'HTTP') return;
    const watched = await runOperation(server.url, transport, {
      query: 'subscription { deliveryLog(filter: { eventTypes: ["a..b"] }) { id } }',
    });
    expect(problemsOf(watched)).toEqual([
      {
        path: 'filter.eventTypes.0',
        code: 'INVALID_INPUT',
        message: expect.stringContaining('must be an event type') as unknown,
      },
    ]);
  });

  test('an internal error is masked, with an id that is in the log beside the error', async () => {
    const delivery = await deliveryOf(api, 'faulty');
    await storeAttempt(api.database, attemptOf(delivery));
    await api.database.prisma.event.update({
      where: { id: delivery.eventId },
      data: { data: Buffer.from('{hunter2') },
    });
    const query = `{ delivery(id: "${delivery.id}") { event { data } } }`;
    const { errors } = await runOperation(server.url, transport, { query });
    expect(errors).toMatchObject([{ extensions: { code: 'INTERNAL_SERVER_ERROR' } }]);
    expect(JSON.stringify(errors)).not.toContain('hunter2');
    const correlationId = String(errors?.[0]?.extensions?.['correlationId']);
    const line = api
      .logged()
      .split('\n')
      .find((text) => text.includes(correlationId));
    expect(line).toContain('JSON');
  });
});
