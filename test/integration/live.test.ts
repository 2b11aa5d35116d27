import { connect as connectTcp } from 'node:net';
import { print } from 'graphql';
import { connect as connectToNats } from 'nats';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { LiveLog } from '../../src/delivery-log/live-log.ts';
import type { Attempt, Delivery } from '../../src/generated/prisma/client.ts';
import { VERSION } from '../../src/lib/version.ts';
import type { HttpServer } from '../../src/server/http.ts';
import { createApiServer } from '../support/api-server.ts';
import { type AttemptRecorder, createAttemptRecorder } from '../support/attempt-recorder.ts';
import {
  ADMIN_KEY,
  type Api,
  attemptOf,
  deliveryOf,
  startApi,
  storeAttempt,
  storeAttempts,
} from '../support/graphql-api.ts';
import { collect, createSocketClient, openEvents, postOperation } from '../support/graphql-client.ts';
import { DELIVERY_LOG, WATCH } from '../support/graphql-operations.graphql.ts';
import { countWaiting } from '../support/table-lock.ts';
import { waitFor } from '../support/wait-for.ts';

let api: Api;
let server: HttpServer;
let url: string;
let delivery: Delivery;
let recorder: AttemptRecorder;
let watchers = 0;
/** Maximum attempts that the server buffers for a reader. */
const MAX_BUFFERED = 50;

// oxlint-disable-next-line typescript/unbound-method -- called with the right `this` below
const watchLog = LiveLog.prototype.watch;
beforeAll(async () => {
  api = await startApi();
  // Counts watchers, to check that an ended stream releases its watcher.
  LiveLog.prototype.watch = function (watcher) {
    const release = watchLog.call(this, watcher);
    watchers += 1;
    let released = false;
    return () => {
      if (!released) watchers -= 1;
      released = true;
      release();
    };
  };
  server = createApiServer(api, { maxBuffered: MAX_BUFFERED });
  url = await server.start();
});
afterAll(async () => {
  LiveLog.prototype.watch = watchLog;
  await server.stop();
  await api.stop();
});
afterEach(async () => {
  // Start with no watchers: the server detects a disconnected client some time later.
  await waitFor(() => watchers === 0, { what: 'all watchers to be released' });
});
beforeEach(async () => {
  delivery = await deliveryOf(api, 'acme');
  recorder = createAttemptRecorder(api, delivery);
});

type Watch = {
  readonly attempts: () => readonly Shown[];
  readonly errors: readonly unknown[];
  stop(): Promise<void>;
};
type Shown = { readonly id: string; readonly cursor: string; readonly number: number };

/** Subscribes over WebSocket, and resolves when the server watches the log. */
async function watch(
  variables: { filter?: object; after?: string } = {},
  client = createSocketClient(url, ADMIN_KEY),
): Promise<Watch> {
  const before = watchers;
  const filter = { subscriptionIds: [delivery.subscriptionId], ...variables.filter };
  const collected = collect<{ readonly deliveryLog: Shown }>(client, {
    query: print(WATCH),
    variables: { ...variables, filter },
  });
  await waitFor(() => watchers > before || collected.isOver, { what: 'the server to watch' });
  return {
    attempts: () => collected.data.map(({ deliveryLog }) => deliveryLog),
    errors: collected.errors,
    stop: async () => {
      await client.dispose();
    },
  };
}

async function make(values: Partial<Attempt> = {}): Promise<Attempt> {
  const attempt = recorder.prepare(values);
  await recorder.record(attempt);
  return attempt;
}

const numbers = ({ attempts }: Watch) => attempts().map(({ number }) => number);

describe('over WebSocket', () => {
  test('attempts that match the filter arrive when they are made', async () => {
    const watching = await watch({ filter: { statuses: ['FAILURE'], statusCodes: [{ from: 500, to: 599 }] } });
    await make({ number: 1 });
    await make({ number: 2, status: 'FAILURE', statusCode: 503, failureReason: 'HTTP_STATUS' });
    await make({ number: 3, status: 'FAILURE', statusCode: 404, failureReason: 'HTTP_STATUS' });
    await make({ number: 4, status: 'FAILURE', statusCode: 500, failureReason: 'HTTP_STATUS' });
    await waitFor(() => watching.attempts().length === 2, { what: 'two attempts' });
    expect(numbers(watching)).toEqual([2, 4]);
    await watching.stop();
  });

  test('foreign messages on its subjects do not interrupt the live log', async () => {
    const watching = await watch();
    const stranger = await connectToNats({ servers: api.nats.url });
    for (const text of ['nonsense', '{}', 'null']) stranger.publish('log.acme', text);
    await stranger.drain();
    const attempt = await make();
    await waitFor(() => watching.attempts().length === 1, { what: 'the attempt', timeoutMs: 5_000 });
    expect(watching.attempts()[0]?.id).toBe(attempt.id);
    // The attempt would also arrive from Postgres, so check that the connection to NATS still works.
    expect(await api.natsClient.withJetStreamManager((manager) => manager.getAccountInfo())).toMatchObject({
      streams: 2,
    });
    await watching.stop();
  });

  test('fields of other objects are read from Postgres', async () => {
    const client = createSocketClient(url, ADMIN_KEY);
    const query = `subscription { deliveryLog(filter: { subscriptionIds: ["${delivery.subscriptionId}"] }) { delivery { id event { data } } } }`;
    const before = watchers;
    const iterator = client.iterate({ query });
    const next = iterator.next();
    await waitFor(() => watchers > before, { what: 'the server to watch' });
    await make();
    expect(await next).toMatchObject({
      value: { data: { deliveryLog: { delivery: { id: delivery.id, event: { data: { n: 1 } } } } } },
    });
    await client.dispose();
  });

  test('the watcher of a client that disconnects while the log is idle is released', async () => {
    const before = watchers;
    const watching = await watch();
    expect(watchers).toBe(before + 1);
    await watching.stop();
    await waitFor(() => watchers === before, { what: 'the watcher to be released' });
  });

  test('with `after`, missed attempts come first, then live ones, each once, over more than two pages', async () => {
    const minute = 60_000;
    const past = Array.from({ length: 450 }, (_, n) =>
      attemptOf(delivery, { number: n + 1, startedAt: new Date(Date.now() - (600 - n) * minute) }),
    );
    await storeAttempts(api.database, past);
    const filter = { subscriptionIds: [delivery.subscriptionId], to: new Date(past[5]?.startedAt ?? 0).toISOString() };
    const log = await api.run(DELIVERY_LOG, { filter });
    const [edge] = log.data?.deliveryLog.edges ?? [];
    expect(edge).toMatchObject({ cursor: edge?.node.cursor, node: { number: 5 } });
    // Attempts made while past attempts are read: some arrive on both ways.
    const making = (async () => {
      for (let number = 451; number <= 480; number += 1) await make({ number });
    })();
    const watching = await watch({ after: edge?.cursor ?? '' });
    await making;
    await make({ number: 481 });
    await waitFor(() => numbers(watching).includes(481), { what: 'the last attempt' });
    expect(numbers(watching)).toEqual(Array.from({ length: 476 }, (_, n) => n + 6));
    await watching.stop();
  });

  test('an attempt that is announced after it was read from Postgres arrives once', async () => {
    const first = await storeAttempt(api.database, attemptOf(delivery, { number: 1 }));
    const second = await storeAttempt(
      api.database,
      attemptOf(delivery, { number: 2, startedAt: new Date(first.startedAt.getTime() + 1) }),
    );
    const log = await api.run(DELIVERY_LOG, { filter: { subscriptionIds: [delivery.subscriptionId] } });
    const cursor = log.data?.deliveryLog.edges.at(-1)?.cursor ?? '';
    const watching = await watch({ after: cursor });
    await waitFor(() => watching.attempts().length === 1, { what: 'the missed attempt' });
    api.feed.announce(second);
    await make({ number: 3 });
    await waitFor(() => numbers(watching).includes(3), { what: 'the live attempt' });
    expect(numbers(watching)).toEqual([2, 3]);
    await watching.stop();
  });

  test.each([undefined, 'Bearer wrong', ''])('the authorization %j is closed with 4403', async (authorization) => {
    const closed = new Promise<{ readonly code: number }>((resolve) => {
      createSocketClient(url, '', {
        connectionParams: authorization === undefined ? {} : { authorization },
        lazy: false,
        onNonLazyError: () => undefined,
        // `as`: the library types it as unknown; ws passes a close event.
        on: {
          closed: (event) => {
            resolve(event as { readonly code: number });
          },
        },
      });
    });
    expect((await closed).code).toBe(4403);
  });

  test('the key without "Bearer" is accepted as well', async () => {
    const watching = await watch({}, createSocketClient(url, '', { connectionParams: { authorization: ADMIN_KEY } }));
    await make({ number: 7 });
    await waitFor(() => numbers(watching).includes(7), { what: 'the attempt' });
    await watching.stop();
  });

  test.each([
    ['an invalid cursor', 'subscription { deliveryLog(after: "x") { id } }', 'INVALID_INPUT'],
    ['an unknown field', 'subscription { deliveryLog { nope } }', undefined],
    ['a syntax error', 'subscription {', undefined],
  ])('%s gets an error, and the socket stays open', async (_name, query, code) => {
    const client = createSocketClient(url, ADMIN_KEY);
    const error = await new Promise((resolve) => {
      client.subscribe(
        { query },
        {
          next: ({ errors }) => {
            resolve(errors);
          },
          error: resolve,
          complete: () => undefined,
        },
      );
    });
    expect(error).toMatchObject([code === undefined ? {} : { extensions: { code } }]);
    const next = await client.iterate({ query: '{ __typename }' }).next();
    expect(next.value).toEqual({ data: { __typename: 'Query' } });
    await client.dispose();
  });

  test('a message of more than 64 KiB closes the socket with 1009', async () => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
    const closed = new Promise<number>((resolve) => socket.once('close', resolve));
    socket.once('open', () => {
      socket.send('x'.repeat(65_537));
    });
    expect(await closed).toBe(1009);
  });
});

const NUMBERS = (fields: string) =>
  `subscription { deliveryLog(filter: { subscriptionIds: ["${delivery.subscriptionId}"] }) { ${fields} } }`;

type SlowReader = { pause(): void; resume(): void; text(): string; close(): void };

async function readSocket(query: string): Promise<SlowReader> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
  let text = '';
  socket.on('message', (data: Buffer) => {
    text += data.toString();
  });
  await waitFor(() => socket.readyState === WebSocket.OPEN, { what: 'the socket' });
  socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: ADMIN_KEY } }));
  await waitFor(() => text.includes('connection_ack'), { what: 'the acknowledgement' });
  socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query } }));
  return {
    text: () => text,
    pause: () => {
      socket.pause();
    },
    resume: () => {
      socket.resume();
    },
    close: () => {
      socket.terminate();
    },
  };
}

test.each([
  ['WebSocket', readSocket],
  ['server-sent events', (query: string) => openEvents(url, { credentials: ADMIN_KEY, query })],
] as const)(
  'over %s, a reader that falls further behind than the buffer holds gets all attempts, and delays no other client',
  async (_name, open) => {
    const quick = await watch();
    const before = watchers;
    const slow = await open(NUMBERS('number errorMessage'));
    await waitFor(() => watchers > before, { what: 'the server to watch' });
    slow.pause();
    // 20 MB, more than the kernel buffers for the two ends. Each round fits into the buffer of the quick reader.
    const [count, round] = [4 * MAX_BUFFERED, MAX_BUFFERED / 2];
    const errorMessage = 'x'.repeat(100_000);
    for (let start = 1; start <= count; start += round) {
      const attempts = Array.from({ length: round }, (_, n) => recorder.prepare({ number: start + n, errorMessage }));
      await recorder.record(...attempts);
      await waitFor(() => quick.attempts().length === start + round - 1, { what: 'the quick reader' });
    }
    const arrived = () => [...slow.text().matchAll(/"number":(\d+)/g)].map(([, number]) => Number(number));
    expect(arrived().length).toBeLessThan(count - 2 * MAX_BUFFERED);
    slow.resume();
    // Not `arrived`: parsing 20 MB for each check would slow down the server, which runs in this process.
    const hasLast = () => slow.text().includes(`"number":${count},`);
    await waitFor(hasLast, { what: 'the slow reader' });
    expect(arrived()).toEqual(Array.from({ length: count }, (_, n) => n + 1));
    expect(quick.errors).toEqual([]);
    slow.close();
    await quick.stop();
  },
);

describe('over server-sent events', () => {
  // GraphiQL sends GET requests.
  test.each(['POST', 'GET'] as const)(
    'attempts arrive, and the watcher of a disconnected client is released (%s)',
    async (method) => {
      const before = watchers;
      const stream = await openEvents(url, { credentials: ADMIN_KEY, query: NUMBERS('number'), method });
      await waitFor(() => watchers === before + 1, { what: 'the server to watch' });
      await make({ number: 5 });
      await waitFor(() => stream.text().includes('"number":5'), { what: 'the event' });
      expect(stream.contentType).toContain('text/event-stream');
      stream.close();
      await waitFor(() => watchers === before, { what: 'the watcher to be released' });
    },
  );

  test('without a key it is 401', async () => {
    const response = await fetch(`${url}/graphql?query=${encodeURIComponent('subscription{deliveryLog{id}}')}`, {
      headers: { accept: 'text/event-stream' },
    });
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] });
  });
});

describe('the server', () => {
  test('reports its health without a key', async () => {
    const live = await fetch(`${url}/health/live`);
    expect([live.status, await live.json()]).toEqual([200, { ok: true, version: VERSION }]);
    const ok = { ok: true };
    const parts = { version: VERSION, database: ok, nats: { ok: true, needed: false }, start: ok };
    for (const path of ['/health/ready', '/health']) {
      const ready = await fetch(`${url}${path}`);
      expect([ready.status, await ready.json()]).toEqual([200, parts]);
    }
    expect((await fetch(`${url}/nothing`)).status).toBe(404);
  });

  test('queries Postgres once for all concurrent health requests', async () => {
    const { pool } = api.database;
    const held = await Promise.all(Array.from({ length: 10 }, () => pool.connect()));
    const asked = Array.from({ length: 30 }, () => fetch(`${url}/health/ready`));
    await waitFor(() => pool.waitingCount > 0, { what: 'the question' });
    const answers = await Promise.all(asked);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]));
    expect(await answers[0]?.json()).toMatchObject({ database: { message: 'Postgres does not answer' } });
    expect(pool.waitingCount).toBe(1);
    for (const client of held) client.release();
    await waitFor(async () => (await fetch(`${url}/health/ready`)).ok, { what: 'readiness' });
  });

  test('rejects an invalid Host header without details', async () => {
    const socket = connectTcp(Number(new URL(url).port), '127.0.0.1');
    socket.write('POST /graphql HTTP/1.1\r\nHost: [\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    let answer = '';
    for await (const chunk of socket) answer += String(chunk);
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect(answer).not.toContain('node_modules');
  });

  test('stop ends streams and sockets with 1001, and lets a running request complete', async () => {
    const own = createApiServer(api);
    const at = await own.start();
    const socket = new WebSocket(`${at.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
    const closed = new Promise<number>((resolve) => socket.once('close', resolve));
    await waitFor(() => socket.readyState === WebSocket.OPEN, { what: 'the socket' });
    const stream = await openEvents(at, { credentials: ADMIN_KEY, query: NUMBERS('number') });
    // A row lock blocks a mutation until the test releases it.
    const client = await api.database.pool.connect();
    await client.query('BEGIN');
    await client.query('SELECT 1 FROM webhook_subscriptions WHERE id = $1 FOR UPDATE', [delivery.subscriptionId]);
    const query = `mutation { deleteWebhookSubscription(id: "${delivery.subscriptionId}") { __typename } }`;
    const running = postOperation(at, { credentials: ADMIN_KEY, query });
    await waitFor(async () => (await countWaiting(api.database.pool)) === 1, { what: 'the mutation to wait' });
    const stopped = own.stop();
    expect(await closed).toBe(1001);
    await waitFor(() => stream.isOver(), { what: 'the stream to end' });
    expect(stream.text()).toContain('event: complete');
    await expect(fetch(`${at}/health/live`)).rejects.toThrow();
    await client.query('COMMIT');
    client.release();
    expect((await running).data).toEqual({
      deleteWebhookSubscription: { __typename: 'DeleteWebhookSubscriptionPayload' },
    });
    await stopped;
    await own.stop();
  });

  test('stop without start does nothing', async () => {
    await expect(createApiServer(api).stop()).resolves.toBeUndefined();
  });
});
