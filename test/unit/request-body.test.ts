import { once } from 'node:events';
import { createServer, type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { createSchema, createYoga, type Plugin } from 'graphql-yoga';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Viewer } from '../../src/auth/viewer.ts';
import type { CpuAccount } from '../../src/lib/operation-work.ts';
import { createBodyQuota } from '../../src/server/body-quota.ts';
import type { Graphql } from '../../src/server/graphql.ts';
import { limitRequests } from '../../src/server/plugins/rate-limit.ts';
import { createResponseLimits } from '../../src/server/plugins/response-limits.ts';
import { createPublishRoute } from '../../src/server/publish-route.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { waitFor } from '../support/wait-for.ts';

const VIEWER: Viewer = { scope: 'TENANT_WRITE', tenant: 'acme', credentialId: 'key' };
const typeDefs = 'type Query { ok: Boolean } type Mutation { publishEvent: Boolean, other: Boolean }';
const PUBLISH = 'mutation { publishEvent }';

const cleanUps = createCleanUps();
afterEach(() => void vi.restoreAllMocks());

const setViewer: Plugin<object, { viewer?: Viewer }> = {
  onRequest: ({ serverContext }) => {
    serverContext.viewer = VIEWER;
  },
};

type Sent = { readonly query: string; readonly variables?: object; readonly framing: 'content-length' | 'chunked' };

type Resolvers = Readonly<Record<string, Readonly<Record<string, () => unknown>>>>;
type Api = { readonly account: CpuAccount; readonly resolvers?: Resolvers };

/** Starts the two routes of the API, which charge this account. Returns its port. */
async function serve({ account, resolvers = {} }: Api): Promise<number> {
  const cpuShares = () => account;
  const takeOperation = () => 0;
  const authenticate = () => Promise.resolve(VIEWER);
  const holdBody = createBodyQuota();
  const plugins = [setViewer, limitRequests({ takeOperation, cpuShares, holdBody })];
  const schema = createSchema({ typeDefs, resolvers });
  // `as`: the routes use the server without the context of the real schema.
  const graphql = createYoga({ schema, plugins, logging: false }) as unknown as Graphql;
  const responseLimits = createResponseLimits(() => undefined);
  const maskError = () => {
    throw new Error('unexpected error');
  };
  const limits = { takeOperation, cpuShares, holdBody, responseLimits };
  const route = createPublishRoute({ ...limits, graphql, authenticate, maskError });
  const server = createServer((incoming, response) => {
    void route(incoming, response, undefined).then(async (context) => {
      if (context !== 'answered') await graphql(incoming, response, context);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUps.push(() => {
    server.close();
    server.closeAllConnections();
  });
  // `as`: the address of a TCP server.
  return (server.address() as AddressInfo).port;
}

/** The same, but returns a function that sends a request. */
async function start(account: CpuAccount) {
  const port = await serve({ account });
  return async ({ query, variables, framing }: Sent) => {
    const body = Buffer.from(JSON.stringify({ query, variables }));
    const length = framing === 'chunked' ? { 'transfer-encoding': 'chunked' } : { 'content-length': body.length };
    const headers = { 'content-type': 'application/json', ...length };
    const outgoing = request({ port, path: '/graphql', method: 'POST', headers }).end(body);
    // `as`: the arguments of this event.
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer); // without an encoding, chunks are buffers
    const { statusCode, headers: received } = response;
    return {
      statusCode,
      retryAfter: received['retry-after'],
      body: JSON.parse(Buffer.concat(chunks).toString()) as unknown,
    };
  };
}

const REQUESTS = [
  ['one that publishes', { query: PUBLISH, framing: 'content-length' }],
  ['one that publishes, chunked', { query: PUBLISH, framing: 'chunked' }],
  ['another mutation', { query: 'mutation { other }', framing: 'content-length' }],
  ['another mutation, chunked', { query: 'mutation { other }', framing: 'chunked' }],
  ['one that also publishes', { query: 'mutation { publishEvent other }', framing: 'content-length' }],
] as const;

/** Makes the parsing of texts with "marker" take 1 s of a clock that does not advance otherwise. Returns their count. */
function watchParsing(): () => number {
  let now = 0;
  let count = 0;
  const parse = JSON.parse.bind(JSON);
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  vi.spyOn(JSON, 'parse').mockImplementation((text: string) => {
    if (text.includes('marker')) {
      now += 1_000;
      count += 1;
    }
    return parse(text) as unknown;
  });
  return () => count;
}

describe.each(REQUESTS)('the body of %s', (_, sent) => {
  test('is parsed once, and the time of its parsing is charged', async () => {
    let charged = 0;
    const send = await start({ spend: (ms) => (charged += ms), waitMs: () => 0 });
    const parsed = watchParsing();
    expect(await send({ ...sent, variables: { marker: 'x'.repeat(500_000) } })).toMatchObject({ statusCode: 200 });
    expect(parsed()).toBe(1);
    // Receiving is charged by the length.
    expect(charged).toBeCloseTo(1_001, 0);
  });

  test('is not parsed if the account is overdrawn once it has arrived', async () => {
    let asked = 0;
    const send = await start({ spend: () => undefined, waitMs: () => (asked++ === 0 ? 0 : 1_500) });
    const parsed = watchParsing();
    expect(await send({ ...sent, variables: { marker: 1 } })).toMatchObject({
      statusCode: 429,
      retryAfter: '2',
      body: { errors: [{ extensions: { code: 'RATE_LIMITED', retryAfterMs: 1_500 } }] },
    });
    expect(parsed()).toBe(0);
  });
});

test('the variables of a GET are charged by the time of their parsing', async () => {
  let charged = 0;
  const account = { spend: (ms: number) => (charged += ms), waitMs: () => 0 };
  const limits = { takeOperation: () => 0, cpuShares: () => account, holdBody: createBodyQuota() };
  const plugins = [setViewer, limitRequests(limits)];
  const graphql = createYoga({ schema: createSchema({ typeDefs }), plugins, logging: false });
  watchParsing();
  const response = await graphql.fetch(
    `http://test/graphql?query={ok}&variables=${encodeURIComponent('{"marker":1}')}`,
  );
  expect(response.status).toBe(200);
  expect(charged).toBe(1_000);
});

const UNLIMITED: CpuAccount = { spend: () => undefined, waitMs: () => 0 };

/** Begins requests of which only the head is sent. `answers` has the status codes so far. */
function beginMany(port: number, count: number, head: OutgoingHttpHeaders) {
  const answers: (number | undefined)[] = [];
  const headers = { 'content-type': 'application/json', ...head };
  const requests = Array.from({ length: count }, () => {
    const outgoing = request({ port, path: '/graphql', method: 'POST', headers, agent: false });
    outgoing.on('error', () => undefined);
    outgoing.on('response', (response) => answers.push(response.resume().statusCode));
    outgoing.flushHeaders();
    return outgoing;
  });
  return { answers, requests };
}

test.each([
  ['with a length', { 'content-length': String(2 * 1024 * 1024) }],
  [
    'with a length, for Yoga',
    { 'content-length': String(2 * 1024 * 1024), accept: 'application/graphql-response+json' },
  ],
  ['without', { 'transfer-encoding': 'chunked' }],
])('a tenant can send 26 MiB of bodies at a time: slow ones %s', async (_, head) => {
  const port = await serve({ account: UNLIMITED });
  const { answers, requests } = beginMany(port, 20, head);
  await waitFor(() => answers.length === 7, { what: 'the refusals' });
  expect(answers).toEqual(Array.from({ length: 7 }, () => 429));
  for (const each of requests) each.destroy();
  const isAccepted = async () => {
    const response = await fetch(`http://127.0.0.1:${port}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: PUBLISH }),
    });
    return (await response.text()).includes('"data"');
  };
  await waitFor(isAccepted, { what: 'an answer once the others have disconnected' });
});

test('a body without a length counts as what has arrived', async () => {
  let begun = 0;
  const resolvers = { Query: { ok: () => new Promise(() => (begun += 1)) } };
  const port = await serve({ account: UNLIMITED, resolvers });
  for (let count = 1; count <= 20; count += 1) {
    const { answers, requests } = beginMany(port, 1, { 'transfer-encoding': 'chunked' });
    requests[0]?.end(JSON.stringify({ query: '{ ok }' }));
    await waitFor(() => begun === count || answers.length > 0, { what: 'the operation' });
    expect(answers).toEqual([]);
  }
});

test('the bodies of pipelined requests no longer count once the connection is closed', async () => {
  let begun = 0;
  const resolvers = { Query: { ok: () => new Promise(() => (begun += 1)) } };
  const port = await serve({ account: UNLIMITED, resolvers });
  const head = (length: number) =>
    `POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`;
  const query = JSON.stringify({ query: '{ ok }' });
  const publish = JSON.stringify({ query: PUBLISH, variables: { text: 'x'.repeat(1_000_000) } });
  for (let count = 1; count <= 12; count += 1) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(`${head(query.length)}${query}`);
    for (let index = 0; index < 3; index += 1) socket.write(`${head(publish.length)}${publish}`);
    await waitFor(() => begun === count, { what: 'the first of the requests' });
    // The others wait for its answer, which never comes.
    await new Promise((resolve) => socket.end(head(0), () => setImmediate(resolve)));
    socket.destroy();
  }
  const { answers, requests } = beginMany(port, 13, { 'content-length': String(2 * 1024 * 1024) });
  const complete = requests[0];
  await waitFor(() => begun === 12, { what: 'the requests' });
  complete?.end(Buffer.alloc(2 * 1024 * 1024, ' '));
  await waitFor(() => answers.length > 0, { what: 'the answer' });
  expect(answers).not.toContain(429);
});
