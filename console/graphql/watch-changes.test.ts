import type { Client as LiveClient } from 'graphql-ws';
import type { Client } from 'urql';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { watchChanges } from './watch-changes.ts';

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('window', globalThis);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

type Sink = { next: (result: object) => void; error: (error: unknown) => void; complete: () => void };

/** A server that counts its cursors, and the streams that are open. */
function startServer() {
  let cursors = 0;
  const streams = new Set<Sink & { after: () => string }>();
  // `as`: the function uses these members only.
  const clients = {
    urql: {
      query: () => ({ toPromise: () => Promise.resolve({ data: { changesCursor: `begin-${(cursors += 1)}` } }) }),
    } as unknown as Client,
    live: {
      subscribe: ({ variables }: { variables: { after: string } }, sink: Sink) => {
        const stream = { ...sink, after: () => variables.after };
        streams.add(stream);
        return () => streams.delete(stream);
      },
    } as unknown as LiveClient,
  };
  return { clients, streams: () => [...streams] };
}

function watch(clients: ReturnType<typeof startServer>['clients']) {
  const calls: unknown[] = [];
  const stream = (name: string) => ({ query: name, filter: {}, onChange: (data: unknown) => calls.push(data) });
  const stop = watchChanges(clients, {
    streams: [stream('one'), stream('other')],
    onBegin: () => calls.push('begin'),
    onEnd: () => calls.push('end'),
  });
  return { calls, stop };
}

test('a new connection continues behind the last change of each stream', async () => {
  const { clients, streams } = startServer();
  const { calls, stop } = watch(clients);
  await vi.advanceTimersByTimeAsync(0);
  expect(streams().map(({ after }) => after())).toEqual(['begin-1', 'begin-1']);
  const change = { deliveryChanges: { cursor: 'c-1' } };
  streams()[0]?.next({ data: change });
  expect(streams().map(({ after }) => after())).toEqual(['c-1', 'begin-1']);
  expect(calls).toEqual(['begin', change]);
  stop();
  expect(streams()).toEqual([]);
});

test('once a cursor has expired, all streams begin again, later each time that there is no change', async () => {
  const { clients, streams } = startServer();
  const { calls, stop } = watch(clients);
  await vi.advanceTimersByTimeAsync(0);
  streams()[0]?.next({ errors: [{ message: 'CURSOR_EXPIRED' }] });
  streams()[0]?.complete();
  expect(streams()).toEqual([]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(streams().map(({ after }) => after())).toEqual(['begin-2', 'begin-2']);
  expect(calls).toEqual(['begin', 'end', 'begin']);
  streams()[1]?.error([{ message: 'refused' }]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(streams()).toEqual([]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(streams()).toHaveLength(2);
  stop();
  await vi.advanceTimersByTimeAsync(600_000);
  expect(streams()).toEqual([]);
});

function closed(code: number): Event {
  return Object.assign(new Event('close'), { code });
}

test('streams begin again after a socket that the client does not replace, unless the server rejects the credential', async () => {
  const { clients, streams } = startServer();
  const { calls } = watch(clients);
  await vi.advanceTimersByTimeAsync(0);
  for (const { error } of streams()) error(closed(1011));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(calls).toEqual(['begin', 'end', 'begin']);
  for (const { error } of streams()) error(closed(4403));
  await vi.advanceTimersByTimeAsync(600_000);
  expect(calls).toEqual(['begin', 'end', 'begin']);
});
