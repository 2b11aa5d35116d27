import type { Client as LiveClient } from 'graphql-ws';
import type { Client } from 'urql';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LiveLog, type LogRow } from './live-log-store.ts';

beforeEach(() => {
  vi.stubGlobal('requestAnimationFrame', (render: () => void) => {
    setImmediate(render);
    return 1;
  });
});
afterEach(() => vi.unstubAllGlobals());

function rowOf(number: number): LogRow {
  return {
    id: `attempt-${number}`,
    cursor: `cursor-${number}`,
    number,
    startedAt: '',
    tenant: 'acme',
    eventType: 'a',
    status: 'SUCCESS',
    responseTimeMs: 1,
    payloadSizeBytes: 2,
    isTest: false,
    url: 'https://example.com',
    subscriptionId: 's',
    deliveryId: `delivery-${number}`,
  };
}

/** A server with a log that holds the rows from 1 on: the newest 100 are the page, and streams begin behind a cursor. */
function startServer(rows: number) {
  let last = rows;
  let stream: { readonly push: (row: LogRow) => void; readonly after: () => string | null } | undefined;
  const pageBehind = (cursor: string | undefined) => {
    const newest = cursor === undefined ? rows : Number(cursor.replace('cursor-', '')) - 1;
    const edges = Array.from({ length: Math.min(100, newest) }, (_, index) => rowOf(newest - index));
    return {
      deliveryLog: {
        edges: edges.map((node) => ({ cursor: node.cursor, node })),
        pageInfo: { endCursor: edges.at(-1)?.cursor, hasNextPage: newest > 100 },
      },
    };
  };
  const query = vi.fn((_document: unknown, { after }: { readonly after?: string }) => ({
    toPromise: () => Promise.resolve({ data: pageBehind(after) }),
  }));
  // `as`: the store uses these functions only.
  const urql = { query } as unknown as Client;
  const live = {
    on: () => () => undefined,
    subscribe: (
      { variables }: { readonly variables: { readonly after: string | null } },
      { next }: { readonly next: (result: { readonly data: { readonly deliveryLog: LogRow } }) => void },
    ) => {
      stream = { push: (row) => next({ data: { deliveryLog: row } }), after: () => variables.after };
      return () => undefined;
    },
  } as unknown as LiveClient;
  return {
    clients: { urql, live },
    query,
    hasStream: () => stream !== undefined,
    log: (count: number) => {
      for (let index = 0; index < count; index += 1) stream?.push(rowOf((last += 1)));
    },
    /** The stream is subscribed to again, and repeats some rows before the cursor that the client sends. */
    restart: (repeated: number, missed: number) => {
      const after = Number(stream?.after()?.replace('cursor-', ''));
      last += missed;
      for (let number = after - repeated + 1; number <= last; number += 1) stream?.push(rowOf(number));
    },
  };
}

test('20,000 rows are kept, and a restart of the server makes none missing and none twice', async () => {
  const server = startServer(150);
  const log = new LiveLog({}, () => true);
  const end = log.connect(server.clients);
  await vi.waitUntil(server.hasStream);
  server.log(15_000);
  server.restart(200, 7_000);
  server.log(2_850);
  const rows = log.rows.slice();
  expect(rows).toHaveLength(20_000);
  expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: 20_000 }, (_, index) => 25_000 - index));
  expect(log.rows.appended).toBe(24_850);
  end();
});

test('rows that the server does not select by a word are left out, and the stream continues behind them all the same', async () => {
  const server = startServer(2);
  const log = new LiveLog({}, ({ number }) => number % 2 === 0);
  const end = log.connect(server.clients);
  await vi.waitUntil(server.hasStream);
  server.log(5);
  expect(log.rows.slice().map(({ number }) => number)).toEqual([6, 4, 2]);
  server.restart(1, 3);
  expect(log.rows.slice().map(({ number }) => number)).toEqual([10, 8, 6, 4, 2]);
  end();
});

test('older pages are read until a row matches, and at most ten at once', async () => {
  const server = startServer(2_500);
  const log = new LiveLog({}, ({ number }) => number === 1_900 || number === 1);
  const end = log.connect(server.clients);
  await vi.waitUntil(server.hasStream);
  await log.loadOlder();
  expect(log.rows.slice().map(({ number }) => number)).toEqual([1_900]);
  expect(server.query).toHaveBeenCalledTimes(7);
  await log.loadOlder();
  expect(server.query).toHaveBeenCalledTimes(17);
  expect(log.rows).toHaveLength(1);
  await log.loadOlder();
  expect(log.rows.slice().map(({ number }) => number)).toEqual([1_900, 1]);
  expect(log.state).toMatchObject({ hasOlder: false, isLoadingOlder: false });
  end();
});

test('the rows of the last moment are rendered when the log is left', async () => {
  const server = startServer(2);
  const log = new LiveLog({}, () => true);
  const end = log.connect(server.clients);
  const rendered = vi.fn();
  log.subscribe(rendered);
  await vi.waitUntil(() => server.hasStream() && rendered.mock.calls.length > 0);
  const before = rendered.mock.calls.length;
  server.log(5);
  expect(rendered).toHaveBeenCalledTimes(before);
  end();
  await new Promise((resolve) => setImmediate(resolve));
  expect(rendered).toHaveBeenCalledTimes(before + 1);
});
