import { type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { type ApiServer, startApiServer, tokenOf } from '../support/api-server.ts';
import { type Api, attemptOf, deliveryOf, startApi } from '../support/graphql-api.ts';
import { collect, createSocketClient, type OperationResponse, postOperation } from '../support/graphql-client.ts';
import { countWaiting, lockTable } from '../support/table-lock.ts';
import { waitFor } from '../support/wait-for.ts';

/**
 * CPU milliseconds of one turn of the event loop. Without yielding, the work of this file took seconds in one turn. A turn
 * that parses a megabyte takes a tenth of this limit on a busy machine.
 */
const MAX_TURN_MS = 400;
const BODY = 'x'.repeat(20_000);

let api: Api;
let server: ApiServer;

beforeAll(async () => {
  api = await startApi();
  server = await startApiServer(api, { rateLimit: 100_000 });
  await storeLongAttempts('heavy');
});
afterAll(async () => {
  await server.stop();
  await api.stop();
});

/** Stores 250 attempts, whose response bodies have 5 MB. */
async function storeLongAttempts(tenant: string): Promise<void> {
  const delivery = await deliveryOf(api, tenant);
  const attempts = Array.from({ length: 250 }, () => ({
    ...attemptOf(delivery),
    requestHeaders: {},
    responseHeaders: {},
    responseBody: BODY,
  }));
  await api.database.prisma.attempt.createMany({ data: attempts });
}

const times = (count: number, text: (index: number) => string) => Array.from({ length: count }, (_, n) => text(n));
const askAs = async (tenant: string, query: string, variables?: Record<string, unknown>) =>
  postOperation(server.url, { credentials: await tokenOf(tenant), query, ...(variables && { variables }) });
const limitOf = ({ errors = [] }: Pick<OperationResponse, 'errors'>) =>
  errors.map(({ extensions }) => extensions?.['code']);

/** Measures the maximum CPU time of one turn of the event loop, and the number of turns. */
function watchTurns(): () => { mostMs: number; turns: number } {
  const seen = { mostMs: 0, turns: 0 };
  let before = process.cpuUsage();
  let isOver = false;
  const next = () => {
    seen.mostMs = Math.max(seen.mostMs, process.cpuUsage(before).user / 1_000);
    seen.turns += 1;
    before = process.cpuUsage();
    if (!isOver) setImmediate(next);
  };
  setImmediate(next);
  return () => {
    isOver = true;
    return seen;
  };
}

/** No element matches the conditions, and each condition tests all elements. */
const DEAR_DATA = { list: Array.from({ length: 60_000 }, (_, n) => ({ n })) };
const DEAR_FILTER = { $or: Array.from({ length: 90 }, (_, n) => ({ list: { n: -1 - n } })) };

test('filters that are tested 19 times on a megabyte yield to the event loop', async () => {
  const data = { ...DEAR_DATA, text: 'y'.repeat(300_000) };
  const query = `query ($filter: JSON!, $data: JSON!) {
    ${times(19, (n) => `a${n}: testFilter(filter: $filter, data: $data) { matches }`).join('\n')} }`;
  const turns = watchTurns();
  const attack = askAs('greedy', query, { filter: DEAR_FILTER, data });
  expect((await askAs('modest', '{ events { nodes { id } } }')).data).toEqual({ events: { nodes: [] } });
  expect((await attack).data).toMatchObject({ a0: { matches: false }, a18: { matches: false } });
  const { mostMs, turns: count } = turns();
  expect(mostMs).toBeLessThan(MAX_TURN_MS);
  expect(count).toBeGreaterThan(15);
});

test('operations of a tenant that has used its CPU time are rejected, and no others', async () => {
  // Each of these queries costs 30 ms because of its length: 9 s in total.
  const query = `{ __typename } #${'x'.repeat(60_000)}`;
  const answers = await Promise.all(Array.from({ length: 300 }, () => askAs('wordy', query)));
  const refused = answers.find(({ status }) => status === 429);
  expect(limitOf(refused ?? { errors: [] })).toEqual(['RATE_LIMITED']);
  expect(refused?.errors?.[0]?.extensions?.['retryAfterMs']).toBeGreaterThan(0);
  expect((await askAs('modest', '{ __typename }')).status).toBe(200);
});

test('the filters of an event are tested again in several turns of the event loop', async () => {
  const eventRowId = uuid7(Date.now());
  await api.database.pool.query(
    `INSERT INTO webhook_subscriptions (id, tenant, url, event_types, filter)
     SELECT gen_random_uuid(), 'filterer', 'https://example.com', '{*}', $1::jsonb FROM generate_series(1, 60)`,
    [JSON.stringify(DEAR_FILTER)],
  );
  const { rows } = await api.database.pool.query<{ version: string }>(
    `SELECT max(version)::text AS version FROM webhook_subscriptions WHERE tenant = 'filterer'`,
  );
  await api.database.prisma.event.create({
    data: {
      id: eventRowId,
      eventId: eventRowId,
      tenant: 'filterer',
      type: 'large',
      occurredAt: new Date(),
      data: Buffer.from(JSON.stringify(DEAR_DATA)),
      matchedVersion: BigInt(rows[0]?.version ?? 0),
    },
  });
  const turns = watchTurns();
  const query = `{ event(id: "${eventRowId}") { considered(first: 60) { nodes { result } } } }`;
  const { data } = await askAs('filterer', query);
  expect(data).toEqual({
    event: { considered: { nodes: Array.from({ length: 60 }, () => ({ result: 'FILTER_FALSE' })) } },
  });
  expect(turns().mostMs).toBeLessThan(MAX_TURN_MS);
  // Each turn has about 10 ms of work; a fast machine needs fewer turns.
  expect(turns().turns).toBeGreaterThan(10);
});

const PAGE = 'deliveryLog(first: 250) { nodes { id responseBody } }';

test('one operation reads at most 16 MiB with any fields, and its answer is not longer', async () => {
  const pages = (count: number) => askAs('heavy', `{ ${times(count, (n) => `p${n}: ${PAGE}`).join(' ')} }`);
  const three = await pages(3);
  expect(limitOf(three)).toEqual([]);
  expect(three.text.length).toBeGreaterThan(15_000_000);
  expect(JSON.parse(three.text)).toMatchObject({ data: { p2: { nodes: { length: 250 } } } });
  expect(limitOf(await pages(13))).toContain('LIMIT_EXCEEDED');
  const copies = times(9, (n) => `b${n}: responseBody`).join(' ');
  const copied = await askAs('heavy', `{ deliveryLog(first: 250) { nodes { ${copies} } } }`);
  expect(copied).toMatchObject({ data: null, errors: [{ extensions: { code: 'LIMIT_EXCEEDED', limit: 'answer' } }] });
});

test('over WebSocket and SSE an answer has at most 4 MiB', async () => {
  const credentials = await tokenOf('heavy');
  const client = createSocketClient(server.url, credentials);
  onTestFinished(() => void client.dispose());
  const socket = collect(client, { query: `{ ${PAGE} }` });
  await waitFor(() => socket.isOver, { what: 'the answer' });
  expect(socket.errors).toMatchObject([{ extensions: { code: 'LIMIT_EXCEEDED', limit: 'answer' } }]);
  const response = await fetch(`${server.url}/graphql`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${credentials}`,
      accept: 'text/event-stream',
      'content-type': 'application/json',
    },
    body: JSON.stringify({ query: `{ ${PAGE} }` }),
  });
  expect((await response.text()).length).toBeLessThan(1_000);
});

const LONGEST = `{ ${times(3, (n) => `p${n}: ${PAGE}`).join(' ')} }`;

/** Sends LONGEST, and reads only the head of the answer. */
async function askUnread(tenant: string): Promise<IncomingMessage> {
  const authorization = `Bearer ${await tokenOf(tenant)}`;
  return new Promise((resolve, reject) => {
    const outgoing = request(`${server.url}/graphql`, {
      method: 'POST',
      agent: false,
      headers: { authorization, 'content-type': 'application/json' },
    });
    outgoing.on('response', (response) => {
      response.on('error', () => undefined);
      resolve(response);
    });
    outgoing.on('error', reject);
    outgoing.end(JSON.stringify({ query: LONGEST }));
  });
}

test('a tenant with more than 64 MiB of unread answers gets no more answers until its clients disconnect', async () => {
  const codes = async () => limitOf(await askAs('heavy', '{ __typename }'));
  const unread: IncomingMessage[] = [];
  // One after another: some wait until the tenant has CPU time again.
  while (unread.length < 5) {
    const response = await askUnread('heavy');
    if (response.statusCode === 200) unread.push(response);
    else response.destroy();
  }
  await expect.poll(codes).toEqual(['TOO_MANY_OPERATIONS']);
  for (const response of unread) response.destroy();
  await expect.poll(codes).toEqual([]);
});

test('operations that waited for others are refused when the answers of those are unread', async () => {
  // A tenant with all of its CPU time, so that none is refused for want of it.
  await storeLongAttempts('hoarder');
  const unlock = await lockTable(api.databaseUrl, { table: 'attempts' });
  onTestFinished(unlock);
  const asked = Array.from({ length: 25 }, () => askUnread('hoarder'));
  await waitFor(async () => (await countWaiting(api.database.pool)) >= 5, { what: 'five that run' });
  await unlock();
  const responses = await Promise.all(asked);
  // A long answer is streamed, so its head has no length.
  const refused = responses.filter(({ headers }) => headers['content-length'] !== undefined);
  expect(responses.map(({ statusCode }) => statusCode)).toEqual(responses.map(() => 200));
  // Five answers of 15 MB reach the limit. As they are written, five run and five wait for their answer to be counted.
  expect(refused.length).toBeGreaterThanOrEqual(10);
  for (const response of refused) expect((await text(response)).slice(0, 1_000)).toContain('TOO_MANY_OPERATIONS');
  for (const response of responses) response.destroy();
});
