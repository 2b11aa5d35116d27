import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type ClientOptions, WebSocket, WebSocketServer } from 'ws';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { createSocketLimits } from '../../src/server/socket-limits.ts';
import { type ApiServer, startApiServer, tokenOf } from '../support/api-server.ts';
import { createAttemptRecorder } from '../support/attempt-recorder.ts';
import { ADMIN_KEY, type Api, deliveryOf, seedDelivery, startApi } from '../support/graphql-api.ts';
import { lockTable } from '../support/table-lock.ts';
import { waitFor } from '../support/wait-for.ts';

let api: Api;
let server: ApiServer;
const open: WebSocket[] = [];
/** A socket that answers no ping and one that does. Detecting the first takes long, so other tests run meanwhile. */
let silent: Raw;
let lively: Raw;
beforeAll(async () => {
  api = await startApi();
  server = await startApiServer(api, { rateLimit: 10_000 });
  silent = await connectAs('silent', { autoPong: false });
  lively = await connectAs('lively');
  open.length = 0;
});
afterEach(async () => {
  for (const socket of open) socket.terminate();
  await waitFor(() => open.every(({ readyState }) => readyState === WebSocket.CLOSED), { what: 'sockets to close' });
  open.length = 0;
});
afterAll(async () => {
  lively.socket.terminate();
  await server.stop();
  await api.stop();
});

type Message = { readonly type: string; readonly id?: string; readonly payload?: unknown };
type Raw = {
  readonly socket: WebSocket;
  readonly messages: Message[];
  /** The close code and reason; undefined while the socket is open. */
  readonly closed: () => string | undefined;
  readonly send: (message: Message) => void;
};

function connect(options: ClientOptions = {}): Raw {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws', options);
  open.push(socket);
  const messages: Message[] = [];
  let closed: string | undefined;
  // `as`: the messages of the protocol.
  socket.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString()) as Message));
  socket.on('close', (code, reason) => {
    closed ??= `${code} ${reason.toString()}`;
  });
  socket.on('error', (error) => {
    closed = error.message;
  });
  return {
    socket,
    messages,
    closed: () => closed,
    send: (message) => {
      socket.send(JSON.stringify(message));
    },
  };
}

/** Connects, and resolves when the server has authenticated or closed the socket. */
async function connectAs(tenant: string, options: ClientOptions = {}): Promise<Raw> {
  return connectWith(await tokenOf(tenant), options);
}

async function connectWith(credentials: string, options: ClientOptions = {}): Promise<Raw> {
  const authorization = `Bearer ${credentials}`;
  const raw = connect(options);
  raw.socket.once('open', () => {
    raw.send({ type: 'connection_init', payload: { authorization } });
  });
  await waitFor(() => raw.messages.length > 0 || raw.closed() !== undefined, { what: 'the acknowledgement' });
  return raw;
}

async function connectMany<T>(count: number, one: () => Promise<T> | T): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, one));
}

test('a socket that does not authenticate within 3 s is closed with 4408', async () => {
  const { closed } = connect();
  await waitFor(() => closed() !== undefined, { what: 'the close' });
  expect(closed()).toMatch(/^4408 /);
});

/** Opens a WebSocket by its handshake alone, which takes a fraction of the time of a client. */
async function openBare(): Promise<Socket> {
  const { hostname, port, host } = new URL(server.url);
  const socket = connectTcp({ host: hostname, port: Number(port) });
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13';
  const webSocket = 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: graphql-transport-ws';
  socket.write(`GET /graphql HTTP/1.1\r\nHost: ${host}\r\n${upgrade}\r\n${webSocket}\r\n\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 101 /);
  return socket;
}

test('at most 1,000 sockets are unauthenticated', async () => {
  let idle: Socket[] = [];
  const closeIdle = () => {
    for (const socket of idle) socket.destroy();
  };
  // On a slow machine, the first of them reach the time limit of a socket without credentials before the last are open.
  const isFull = async () => {
    closeIdle();
    idle = await connectMany(1_000, openBare);
    return (await connectAs('late')).closed()?.includes('503');
  };
  try {
    await waitFor(isFull, { what: 'a refused socket' });
    idle[0]?.destroy();
    await waitFor(async () => (await connectAs('late')).closed() === undefined, { what: 'a place' });
  } finally {
    closeIdle();
  }
});

test('a credential has at most 1,000 sockets, and other credentials are not affected', async () => {
  // In groups, because of the limit of unauthenticated sockets.
  const mine: Raw[] = [];
  for (let part = 0; part < 10; part += 1) mine.push(...(await connectMany(100, () => connectAs('greedy'))));
  expect(mine.map(({ closed }) => closed()).filter((reason) => reason !== undefined)).toEqual([]);
  const oneMore = await connectAs('greedy');
  await waitFor(() => oneMore.closed() !== undefined, { what: 'the refusal' });
  expect(oneMore.closed()).toBe('4901 TOO_MANY_SOCKETS');
  expect((await connectAs('modest')).messages).toMatchObject([{ type: 'connection_ack' }]);
  mine[0]?.socket.close();
  const accepted = async () => (await connectAs('greedy')).messages.some(({ type }) => type === 'connection_ack');
  await waitFor(accepted, { what: 'a place' });
});

/** Stores events with a megabyte of data each. */
async function seedLarge(tenant: string, events: number): Promise<void> {
  const { id: subscriptionId } = await api.database.prisma.webhookSubscription.create({
    data: { id: uuid7(Date.now()), tenant, url: 'https://example.com/', eventTypes: ['*'] },
  });
  for (let n = 0; n < events; n += 1) await seedDelivery(api.database, { subscriptionId, tenant });
  const data = Buffer.from(JSON.stringify('x'.repeat(1_000_000)));
  await api.database.pool.query('UPDATE events SET data = $1 WHERE tenant = $2', [data, tenant]);
}

test('a socket that keeps sending without reading is closed with 4900 and a reason', async () => {
  await seedLarge('unread', 1);
  const query = '{ events(filter: { tenant: "unread" }) { nodes { data } } }';
  const closeReason = async () => {
    const before = await countQueries();
    // Administrators have no limit of CPU time, which would slow down the answers.
    const { socket, send, closed } = await connectWith(ADMIN_KEY);
    socket.pause();
    // 30 MB of answers. The kernel buffers some of them.
    for (let n = 0; n < 30; n += 1) send({ type: 'subscribe', id: String(n), payload: { query } });
    await waitFor(async () => (await countQueries()) >= before + 30, { what: 'the answers', timeoutMs: 30_000 });
    socket.resume();
    await waitFor(() => closed() !== undefined, { what: 'the close' });
    return closed();
  };
  // A client that begins to read more than 2 s after the close, as on a slow machine, gets no reason.
  await waitFor(async () => (await closeReason()) === '4900 SLOW_READER', { what: 'the reason', timeoutMs: 240_000 });
});

test('beyond the limit of all sockets together, the one with the most unread bytes is closed with 4900', async () => {
  const kibibyte = 1024;
  const limits = createSocketLimits({
    perSocket: 9_000 * kibibyte,
    perTenant: 12_000 * kibibyte,
    total: 16_000 * kibibyte,
  });
  const webSockets = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await once(webSockets, 'listening');
  const { port } = webSockets.address() as AddressInfo;
  const connectPaused = async (tenant: string) => {
    const accepted = once(webSockets, 'connection') as Promise<[WebSocket]>;
    const client = new WebSocket(`ws://127.0.0.1:${port}`);
    open.push(client);
    await once(client, 'open');
    client.pause();
    const [socket] = await accepted;
    limits.watch(socket);
    limits.admit(socket, { scope: 'TENANT_READ', tenant, credentialId: tenant });
    return socket;
  };
  const sockets = [await connectPaused('a'), await connectPaused('b'), await connectPaused('c')];
  const send = (index: number, unreadKibibytes: number) => {
    const socket = sockets[index];
    if (socket === undefined) throw new Error('no such socket');
    // The kernel buffers a part of the sent data.
    while (socket.bufferedAmount < unreadKibibytes * kibibyte) {
      socket.send(Buffer.alloc(100 * kibibyte));
      limits.boundUnread(socket);
    }
  };
  const states = () => sockets.map(({ readyState }) => readyState === WebSocket.OPEN);
  send(0, 4_000);
  send(1, 8_000);
  expect(states()).toEqual([true, true, true]);
  send(2, 5_000);
  expect(states()).toEqual([true, false, true]);
  for (const client of open) client.terminate();
  webSockets.close();
});

async function metricsOf(url: string): Promise<string> {
  const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${ADMIN_KEY}` } });
  return response.text();
}

/** The number of queries that have been executed. */
async function countQueries(): Promise<number> {
  const [, count] =
    /^webhooks_graphql_operations_total\{type="query",outcome="ok"\} (\d+)$/m.exec(await metricsOf(server.url)) ?? [];
  return Number(count);
}

test('a response that its client does not read is aborted', async () => {
  // Longer than a busy machine takes until it sends the first byte.
  const hasty = await startApiServer(api, { idleTimeoutMs: 15_000 });
  const events = 14;
  await seedLarge('large', events);
  const body = JSON.stringify({ query: '{ events(filter: { tenant: "large" }) { nodes { data } } }' });
  const lines = ['POST /graphql HTTP/1.1', 'host: test', 'content-type: application/json'];
  lines.push(`authorization: Bearer ${ADMIN_KEY}`, `content-length: ${body.length}`, '', body);
  const client = connectTcp(Number(new URL(hasty.url).port));
  // 14 MB each, more than the kernel buffers for a connection.
  const requests = 4;
  client.write(lines.join('\r\n').repeat(requests));
  await once(client, 'readable');
  // The connection ends with all its responses, also those that were created behind the first one.
  const closedResponses = /webhooks_http_requests_total\{path="\/graphql",code="2xx"\} [1-4]/;
  await waitFor(async () => closedResponses.test(await metricsOf(hasty.url)), { what: 'the abort' });
  let received = 0;
  client.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  client.on('error', () => undefined);
  await once(client, 'close');
  expect(received).toBeGreaterThan(1_000_000);
  expect(received).toBeLessThan(requests * events * 1_000_000);
  await hasty.stop();
});

test('operations that a client has cancelled count as long as they run', async () => {
  const { send, messages } = await connectAs('hasty');
  const unlock = await lockTable(api.databaseUrl, { table: 'deliveries' });
  try {
    for (let n = 1; n <= 60; n += 1) {
      send({ type: 'subscribe', id: String(n), payload: { query: '{ deliveries { nodes { id } } }' } });
      send({ type: 'complete', id: String(n) });
    }
    send({ type: 'subscribe', id: 'last', payload: { query: '{ __typename }' } });
    await waitFor(() => messages.some(({ id }) => id === 'last'), { what: 'an answer' });
    const code = 'TOO_MANY_OPERATIONS';
    expect(messages.at(-1)).toMatchObject({ type: 'error', id: 'last', payload: [{ extensions: { code } }] });
  } finally {
    await unlock();
  }
  await waitFor(
    () => {
      send({ type: 'subscribe', id: `again ${messages.length} ${Date.now()}`, payload: { query: '{ __typename }' } });
      return messages.some(({ type, id }) => type === 'next' && id?.startsWith('again'));
    },
    { what: 'an answer when they are done' },
  );
});

test('50 live streams can be open over one socket, and the next one is rejected', async () => {
  const tenant = 'streams';
  const { prepare, record } = createAttemptRecorder(api, await deliveryOf(api, tenant));
  const { send, messages, closed } = await connectAs(tenant);
  const watch = (id: string) => {
    send({ type: 'subscribe', id, payload: { query: 'subscription { deliveryLog { id } }' } });
  };
  /** Whether all these streams show an attempt; only open streams do. */
  const allShow = async (ids: readonly string[]) => {
    await waitFor(
      async () => {
        await record(prepare());
        return ids.every((id) => messages.some((message) => message.type === 'next' && message.id === id));
      },
      { what: 'an attempt in each of them' },
    );
  };
  const ids = Array.from({ length: 50 }, (_, n) => `stream ${n + 1}`);
  for (const id of ids) watch(id);
  await allShow(ids);
  watch('one more');
  const errors = () => messages.filter(({ type }) => type === 'error');
  await waitFor(() => errors().length > 0, { what: 'the refusal' });
  const code = 'TOO_MANY_OPERATIONS';
  expect(errors()).toMatchObject([{ id: 'one more', payload: [{ extensions: { code } }] }]);
  send({ type: 'complete', id: 'stream 1' });
  watch('in its place');
  await allShow(['in its place']);
  expect(errors()).toHaveLength(1);
  expect(closed()).toBeUndefined();
});

test('a socket that answers no ping is terminated', async () => {
  await waitFor(() => silent.closed() !== undefined, { what: 'the end' });
  expect(silent.closed()).toMatch(/^1006 /);
  expect(lively.closed()).toBeUndefined();
});
