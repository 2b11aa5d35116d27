import type { Client as LiveClient } from 'graphql-ws';
import { type Client, CombinedError } from 'urql';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LiveLog, type LogRow } from './live-log-store.ts';

beforeEach(() => {
  vi.stubGlobal('requestAnimationFrame', (render: () => void) => {
    setImmediate(render);
    return 1;
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

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

type Sink = {
  readonly next: (result: object) => void;
  readonly error: (error: unknown) => void;
  readonly complete: () => void;
};

/** A server with a log that holds the rows from 1 on: the newest 100 are the page, and streams begin behind a cursor. */
function startServer(rows: number) {
  let last = rows;
  let stream: (Sink & { readonly after: () => string | null }) | undefined;
  let pageError: CombinedError | undefined;
  const push = (row: LogRow) => stream?.next({ data: { deliveryLog: row } });
  const pageBehind = (cursor: string | undefined) => {
    const newest = cursor === undefined ? last : Number(cursor.replace('cursor-', '')) - 1;
    const edges = Array.from({ length: Math.min(100, newest) }, (_, index) => rowOf(newest - index));
    return {
      deliveryLog: {
        edges: edges.map((node) => ({ cursor: node.cursor, node })),
        pageInfo: { endCursor: edges.at(-1)?.cursor, hasNextPage: newest > 100 },
      },
    };
  };
  const query = vi.fn((_document: unknown, { after }: { readonly after?: string }) => ({
    toPromise: () => Promise.resolve(pageError === undefined ? { data: pageBehind(after) } : { error: pageError }),
  }));
  // `as`: the store uses these functions only.
  const urql = { query } as unknown as Client;
  const live = {
    on: () => () => undefined,
    subscribe: ({ variables }: { readonly variables: { readonly after: string | null } }, sink: Sink) => {
      const { after } = variables;
      // As the server does: from the cursor on, or from now on.
      if (after != null) queueMicrotask(() => catchUp(Number(after.replace('cursor-', ''))));
      stream = { ...sink, after: () => variables.after };
      return () => undefined;
    },
  } as unknown as LiveClient;
  const catchUp = (after: number) => {
    for (let number = after + 1; number <= last; number += 1) push(rowOf(number));
  };
  /** The stream ends, and rows are logged before the next one. */
  const endStream = (end: (sink: Sink) => void, missed: number) => {
    const ended = stream;
    stream = undefined;
    last += missed;
    if (ended !== undefined) end(ended);
  };
  return {
    clients: { urql, live },
    query,
    stream: () => stream,
    hasStream: () => stream !== undefined,
    failPages: (error: CombinedError | undefined) => {
      pageError = error;
    },
    endStream,
    log: (count: number) => {
      for (let index = 0; index < count; index += 1) push(rowOf((last += 1)));
    },
    /** The stream is subscribed to again, and repeats some rows before the cursor that the client sends. */
    restart: (repeated: number, missed: number) => {
      const after = Number(stream?.after()?.replace('cursor-', ''));
      last += missed;
      catchUp(after - repeated);
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

const UNAVAILABLE = new CombinedError({ graphQLErrors: [{ message: 'Postgres is unavailable' }] });

/** A log with two rows that watches, and timers that wait for the test. */
function startLog() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const server = startServer(2);
  const log = new LiveLog({}, () => true);
  return { server, log, numbers: () => log.rows.slice().map(({ number }) => number) };
}

test('a first page that fails is read again, later each time, until it is there', async () => {
  const { server, log, numbers } = startLog();
  server.failPages(UNAVAILABLE);
  const end = log.connect(server.clients);
  await vi.advanceTimersByTimeAsync(0);
  expect(log.state).toMatchObject({ phase: 'ready', error: UNAVAILABLE });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(server.query).toHaveBeenCalledTimes(2);
  await vi.advanceTimersByTimeAsync(1_999);
  expect(server.query).toHaveBeenCalledTimes(2);
  server.failPages(undefined);
  await vi.advanceTimersByTimeAsync(1);
  expect(log.state.error).toBeUndefined();
  server.log(1);
  expect(numbers()).toEqual([3, 2, 1]);
  end();
  server.endStream(({ complete }) => complete(), 0);
  await vi.advanceTimersByTimeAsync(600_000);
  expect(server.hasStream()).toBe(false);
});

test.each<[string, (sink: Sink) => void, boolean]>([
  ['with an error', ({ error }) => error([{ message: 'unavailable' }]), true],
  [
    'with a result that has errors',
    ({ next, complete }) => {
      next({ errors: [{ message: 'unavailable' }] });
      complete();
    },
    true,
  ],
  ['without an error', ({ complete }) => complete(), false],
  ['because the socket was closed', ({ error }) => error(Object.assign(new Event('close'), { code: 1011 })), false],
])('a stream that ends %s begins again: no row is missing and none is there twice', async (_, fail, hasError) => {
  const { server, log, numbers } = startLog();
  const end = log.connect(server.clients);
  await vi.advanceTimersByTimeAsync(0);
  server.log(1);
  server.endStream(fail, 4);
  await vi.advanceTimersByTimeAsync(0);
  expect(log.state.error !== undefined).toBe(hasError);
  server.failPages(UNAVAILABLE);
  await vi.advanceTimersByTimeAsync(1_000);
  expect([server.hasStream(), log.state.error !== undefined]).toEqual([!hasError, hasError]);
  server.failPages(undefined);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(log.state.error).toBeUndefined();
  server.restart(2, 1);
  expect(numbers()).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
  end();
});

test('a row after a result with errors removes the error', async () => {
  const { server, log } = startLog();
  const end = log.connect(server.clients);
  await vi.advanceTimersByTimeAsync(0);
  server.stream()?.next({ errors: [{ message: 'one row cannot be read' }] });
  expect(log.state.error).toBeDefined();
  server.log(1);
  expect(log.state.error).toBeUndefined();
  end();
});

test('a stream that the server ends because of the credential waits for another sign-in', async () => {
  const { server, log } = startLog();
  const end = log.connect(server.clients);
  await vi.advanceTimersByTimeAsync(0);
  server.endStream(({ error }) => error(Object.assign(new Event('close'), { code: 4403 })), 0);
  await vi.advanceTimersByTimeAsync(600_000);
  expect(server.hasStream()).toBe(false);
  end();
});
