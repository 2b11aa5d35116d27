import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { InFlight } from '../../src/lib/in-flight.ts';
import type { CpuAccount } from '../../src/lib/operation-work.ts';
import { createResponseLimits } from '../../src/server/plugins/response-limits.ts';
import { LiveSockets } from '../../src/server/websockets.ts';
import { ADMIN_KEY, type Api, startApi } from '../support/graphql-api.ts';
import { waitFor } from '../support/wait-for.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => {
  vi.restoreAllMocks();
});
afterAll(async () => {
  await api.stop();
});

const UNLIMITED: CpuAccount = { spend: () => undefined, waitMs: () => 0 };
const INIT = JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${ADMIN_KEY}` } });
const ping = (bytes: number) => JSON.stringify({ type: 'ping', payload: { x: 'x'.repeat(bytes) } });
const subscribe = (id: string, padding = 0) =>
  JSON.stringify({
    type: 'subscribe',
    id,
    payload: { query: '{ __typename }', variables: { x: 'x'.repeat(padding) } },
  });

/** Connects to a server of its own, which charges messages to this account. */
async function connect(account = UNLIMITED) {
  const { graphql, credentials, log } = api;
  const cpuShares = () => account;
  const limits = { takeOperation: () => 0, cpuShares, responseLimits: createResponseLimits(cpuShares) };
  const operations = new InFlight();
  const sockets = new LiveSockets({ graphql, credentials, log, operations, metrics: new Registry(), ...limits });
  const server = createServer().on('upgrade', (request, socket, head) => {
    sockets.upgrade(request, socket, head);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // `as`: the address of a TCP server.
  const { port } = server.address() as AddressInfo;
  const socket = new WebSocket(`ws://127.0.0.1:${port}/graphql`, 'graphql-transport-ws');
  onTestFinished(async () => {
    socket.terminate();
    await sockets.stop();
    server.close();
  });
  const messages: string[] = [];
  let closed: number | undefined;
  socket.on('message', (data: Buffer) => messages.push(data.toString()));
  socket.on('close', (code) => (closed = code));
  await once(socket, 'open');
  const acknowledge = async () => {
    socket.send(INIT);
    await waitFor(() => messages.length > 0, { what: 'the acknowledgement' });
  };
  const closeCode = async () => {
    await waitFor(() => closed !== undefined, { what: 'the close' });
    return closed;
  };
  return {
    socket,
    messages,
    acknowledge,
    closeCode,
    send: (text: string) => {
      socket.send(text);
    },
  };
}

type Client = Awaited<ReturnType<typeof connect>>;
const times = (count: number, action: () => void) => {
  for (let n = 0; n < count; n += 1) action();
};

describe.each<readonly [string, (client: Client) => void]>([
  [
    'a long message',
    ({ send }) => {
      send(ping(60_000));
    },
  ],
  [
    'long credentials',
    ({ send }) => {
      send(JSON.stringify({ type: 'connection_init', payload: { authorization: 'x'.repeat(11_000) } }));
    },
  ],
  [
    'many messages',
    ({ send }) => {
      times(11, () => {
        send(ping(1));
      });
    },
  ],
  [
    'many pings of WebSocket',
    ({ socket }) => {
      times(11, () => {
        socket.ping();
      });
    },
  ],
  [
    'a message of the server',
    ({ send }) => {
      send('{"type":"connection_ack"}');
    },
  ],
])('%s before the acknowledgement', (_, violate) => {
  test('closes the socket with 4400, and nothing is printed', async () => {
    const print = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const client = await connect();
    violate(client);
    expect(await client.closeCode()).toBe(4400);
    expect(print).not.toHaveBeenCalled();
  });
});

test('a ping before the acknowledgement is answered', async () => {
  const { send, messages, acknowledge } = await connect();
  send('{"type":"ping"}');
  await waitFor(() => messages.length === 1, { what: 'the pong' });
  await acknowledge();
  await waitFor(() => messages.length === 2, { what: 'the acknowledgement' });
  expect(messages).toEqual(['{"type":"pong"}', '{"type":"connection_ack"}']);
});

test('a ping has at most 1 KiB', async () => {
  const { send, messages, acknowledge, closeCode } = await connect();
  await acknowledge();
  send(ping(900));
  await waitFor(() => messages.length === 2, { what: 'the pong' });
  send(ping(1_024));
  expect(await closeCode()).toBe(4400);
  expect(messages).toHaveLength(2);
});

test('each message is charged by the time of its parsing', async () => {
  let charged = 0;
  const { send, messages, acknowledge } = await connect({ spend: (ms) => (charged += ms), waitMs: () => 0 });
  await acknowledge();
  // A clock that moves only while a message is parsed.
  let now = 0;
  const parse = JSON.parse.bind(JSON);
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  vi.spyOn(JSON, 'parse').mockImplementation((text: string) => {
    now += 1_000;
    return parse(text) as unknown;
  });
  charged = 0;
  send(subscribe('1'));
  await waitFor(() => messages.length === 3, { what: 'the answer' });
  // Receiving has a price.
  expect(charged).toBeCloseTo(1_000.1, 0);
});

test('while the account is overdrawn, the socket is not read and no message is parsed', async () => {
  let isOverdrawn = false;
  let asked = 0;
  const waitMs = () => {
    asked += 1;
    return isOverdrawn ? 1 : 0;
  };
  const { send, messages, acknowledge } = await connect({ spend: () => undefined, waitMs });
  await acknowledge();
  isOverdrawn = true;
  const parse = vi.spyOn(JSON, 'parse');
  const pause = vi.spyOn(WebSocket.prototype, 'pause');
  const resume = vi.spyOn(WebSocket.prototype, 'resume');
  for (const id of ['1', '2', '3']) send(subscribe(id, 60_000));
  const before = asked;
  await waitFor(() => asked > before + 3, { what: 'checks of the account' });
  expect(pause).toHaveBeenCalled();
  expect(resume).not.toHaveBeenCalled();
  expect(parse).not.toHaveBeenCalled();
  isOverdrawn = false;
  await waitFor(() => messages.length === 7, { what: 'the answers' });
  expect(resume).toHaveBeenCalled();
});
