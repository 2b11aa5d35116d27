import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { type WebSocket, WebSocketServer } from 'ws';
import { createIdSequence } from '../src/lib/uuid7.ts';
import { createConsolePages } from '../src/server/console.ts';

/** Milliseconds between two bursts of rows; a sender commits the results of some milliseconds together as well. */
const BURST_MS = 10;

export type ReplayedLog = {
  readonly url: string;
  /** Resolves when `rows` rows have been sent, each in its own frame, as the engine sends them. */
  readonly send: (rows: number, perSecond: number) => Promise<void>;
  readonly stop: () => Promise<void>;
};

type Message = { readonly id?: string; readonly type: string; readonly payload?: { readonly query?: string } };

/**
 * Serves the console and answers the requests of its live log in place of the engine. The rows are generated, because
 * the engine, its databases and its receivers would compete with the measured browser for CPU time.
 */
export async function startReplayedLog(): Promise<ReplayedLog> {
  const pages = createConsolePages({ publicUrl: undefined, portalOrigins: [] });
  if (pages === undefined) throw new Error('dist/console is missing: run "npm run build"');
  const server = createServer((request, response) => {
    if (request.url === '/graphql') void answer(request, response);
    else pages(request, response, request.url?.split('?', 1)[0] ?? '');
  });
  const watchers = new Map<WebSocket, string>();
  const sockets = new WebSocketServer({ server, handleProtocols: () => 'graphql-transport-ws' });
  sockets.on('connection', (socket) => {
    // `as`: text frames of graphql-ws are JSON.
    socket.on('message', (data: Buffer) => {
      answerFrame(socket, JSON.parse(data.toString()) as Message);
    });
    socket.on('close', () => watchers.delete(socket));
  });
  const answerFrame = (socket: WebSocket, { id = '', type, payload }: Message) => {
    if (type === 'connection_init') socket.send('{"type":"connection_ack"}');
    else if (type === 'ping') socket.send('{"type":"pong"}');
    else if (type !== 'subscribe') watchers.delete(socket);
    else if (payload?.query?.startsWith('subscription') === true) watchers.set(socket, id);
    else {
      socket.send(`{"id":"${id}","type":"next","payload":${JSON.stringify({ data: answerOf(payload?.query ?? '') })}}`);
      socket.send(`{"id":"${id}","type":"complete"}`);
    }
  };
  const nextRow = createRows();
  const sendRow = () => {
    const row = JSON.stringify(nextRow());
    for (const [socket, id] of watchers) {
      socket.send(`{"id":"${id}","type":"next","payload":{"data":{"deliveryLog":${row}}}}`);
    }
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    // `as`: a server on TCP.
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    send: (rows, perSecond) => paced(sendRow, { rows, perSecond }),
    stop: async () => {
      for (const socket of sockets.clients) socket.terminate();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

type Pace = { readonly rows: number; readonly perSecond: number };

function paced(sendRow: () => void, { rows, perSecond }: Pace): Promise<void> {
  const startedAt = performance.now();
  let sent = 0;
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(rows, Math.floor(((performance.now() - startedAt) / 1_000) * perSecond));
      for (; sent < due; sent += 1) sendRow();
      if (sent < rows) return;
      clearInterval(timer);
      resolve();
    }, BURST_MS);
  });
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  // `as`: urql sends a query.
  const { query } = JSON.parse(await text(request)) as { readonly query: string };
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ data: answerOf(query) }));
}

/** Answers the page's queries: the viewer, and the newest page of the log, which is empty. */
function answerOf(query: string): object {
  if (query.includes('viewer')) return { viewer: VIEWER };
  const pageInfo = { endCursor: null, hasNextPage: false, __typename: 'PageInfo' };
  return { deliveryLog: { edges: [], pageInfo, __typename: 'QueryDeliveryLogConnection' } };
}

const VIEWER = {
  ...{ scope: 'ADMIN', tenant: null, subject: null, expiresAt: null, hidePayloads: false },
  ...{ locale: null, subscriptionIds: null, __typename: 'Viewer' },
};

const TYPES = ['order.paid', 'order.shipped', 'invoice.created', 'conversation.message.received', 'user.updated'];
const TENANTS = 20;
const SUBSCRIPTIONS = 100;
/** One in this many attempts fails. */
const FAILING = 12;

/** Rows as different as those of a busy service: types, tenants, endpoints, results and times vary. */
function createRows(): () => object {
  const nextId = createIdSequence();
  let number = 0;
  return () => {
    number += 1;
    const now = Date.now();
    const id = nextId(now);
    const subscription = number % SUBSCRIPTIONS;
    const isFailure = number % FAILING === 0;
    return {
      ...{ __typename: 'Attempt', id, cursor: id, deliveryId: id, number: 1, isTest: false },
      startedAt: new Date(now).toISOString(),
      tenant: `tenant-${subscription % TENANTS}`,
      eventType: TYPES[number % TYPES.length],
      status: isFailure ? 'FAILURE' : 'SUCCESS',
      statusCode: isFailure ? 503 : 200,
      failureReason: isFailure ? 'HTTP_STATUS' : null,
      responseTimeMs: 10 + (number % 90),
      payloadSizeBytes: 400 + (number % 4_000),
      url: `https://hooks.customer-${subscription}.example.com/webhooks/orders?region=${subscription % 7}`,
      subscriptionId: `018f4b3c-0000-7000-8000-${String(subscription).padStart(12, '0')}`,
    };
  };
}
