import { setImmediate as nextImmediate } from 'node:timers/promises';
import pg from 'pg';
import { expect, test, vi } from 'vitest';
import type { Viewer } from '../../src/auth/viewer.ts';
import { createEventData, JsonText } from '../../src/delivery-log/event-data.ts';
import { yieldEventLoop } from '../../src/lib/event-loop.ts';
import { createOperationWork, MAX_OPERATION_BYTES } from '../../src/lib/operation-work.ts';
import { createResponseLimits, sizeOfResponse, writeResponse } from '../../src/server/plugins/response-limits.ts';

async function write(response: unknown): Promise<{ text: string; pieces: number[] }> {
  const pieces: Uint8Array[] = [];
  for await (const piece of writeResponse(response)) pieces.push(piece);
  return { text: Buffer.concat(pieces).toString(), pieces: pieces.map(({ length }) => length) };
}

test('a response is written in pieces and equals the output of JSON.stringify', async () => {
  const rows = Array.from({ length: 300 }, (_, n) => ({
    id: `${n}"\n\u2028é`,
    body: 'x'.repeat(1_000),
    none: undefined,
    nothing: null,
    list: [1, true, [], {}],
    data: new JsonText('{"a":  1.50}'),
  }));
  const response = { data: { rows, empty: [], long: 'y'.repeat(200_000) }, errors: undefined, stringify: () => '' };
  const { text, pieces } = await write(response);
  // Compared as a boolean, because a failure would print both long texts.
  expect(JSON.stringify(JSON.parse(text)) === JSON.stringify(response)).toBe(true);
  expect(pieces.length).toBeGreaterThan(3);
  expect((await write({ data: { n: 1 } })).text).toBe('{"data":{"n":1}}');
});

test('the data of an event is parsed once for all aliases, and charged', async () => {
  let spent = 0;
  const work = createOperationWork({ spend: (ms) => (spent += ms), waitMs: () => 0 });
  const data = createEventData({ readPool: new pg.Pool() }, work);
  data.remember('event', Buffer.from(JSON.stringify({ n: 'x'.repeat(1_000_000) })));
  const parse = vi.spyOn(JSON, 'parse');
  const [first, ...others] = await Promise.all(Array.from({ length: 12 }, () => data.json('event')));
  expect(parse).toHaveBeenCalledOnce();
  parse.mockRestore();
  expect(others.every((other) => other === first)).toBe(true);
  expect(spent).toBeGreaterThan(0);
});

test('each value of a live stream reads and parses the data again, because it may be redacted', async () => {
  const data = createEventData({ readPool: new pg.Pool() }, createOperationWork(undefined));
  const first = await rememberAndRead(data);
  data.renew();
  expect(await rememberAndRead(data)).not.toBe(first);
});

const EVENT = '01890000-0000-7000-8000-000000000000';

function rememberAndRead(data: ReturnType<typeof createEventData>): Promise<JsonText> {
  data.remember(EVENT, Buffer.from('1'));
  return data.json(EVENT);
}

test('event data over WebSocket is charged by its size under each alias, and bounded', () => {
  let spent = 0;
  const limits = createResponseLimits(() => ({ spend: (ms) => (spent += ms), waitMs: () => 0 }));
  const viewer: Viewer = { scope: 'TENANT_READ', tenant: 'acme', credentialId: 'key' };
  const dense = new JsonText(`[${'[],'.repeat(200_000)}[]]`);
  expect(limits.boundMessage({ data: { one: dense } }, viewer)).toEqual({ data: { one: dense } });
  expect(spent).toBeGreaterThan(40);
  const result = { data: { one: dense, two: dense } };
  const message =
    'one answer may contain over WebSocket and SSE at most 1048576 characters of event data; request fewer rows';
  expect(limits.boundMessage(result, viewer)).toMatchObject({ data: null, errors: [{ message }] });
  spent = 0;
  // Over HTTP it is written in pieces, and not parsed again.
  expect(limits.bound(result, { viewer, max: MAX_OPERATION_BYTES }).result).toEqual(result);
  expect(spent).toBeLessThan(20);
});

test('the size of a response includes names, texts and values; counting stops soon after the limit', () => {
  expect(sizeOfResponse({ ab: ['xyz', 1], c: new JsonText('[12]') }, 1_000)).toEqual({
    characters: 27,
    values: 5,
    jsonCharacters: 4,
  });
  const rows = Array.from({ length: 1_000 }, () => ({ body: 'x'.repeat(1_000) }));
  expect(sizeOfResponse(rows, 10_000).characters).toBeLessThan(12_000);
});

test('one turn of the event loop runs at most two long pieces of work', async () => {
  // The turn of earlier work ends first: it would count as a part of this test's first turn.
  await nextImmediate();
  await nextImmediate();
  const pieces = new Map<number, number>();
  let turn = 0;
  const nextTurn = () => {
    turn += 1;
    timer = setImmediate(nextTurn);
  };
  let timer = setImmediate(nextTurn);
  const work = async () => {
    for (let piece = 0; piece < 10; piece += 1) {
      await yieldEventLoop();
      pieces.set(turn, (pieces.get(turn) ?? 0) + 1);
      for (const until = performance.now() + 10; performance.now() < until; );
    }
  };
  await Promise.all([work(), work()]);
  clearImmediate(timer);
  expect(Math.max(...pieces.values())).toBeLessThanOrEqual(2);
});

test('an operation reads one page at a time, and no further page after 16 MiB', async () => {
  const work = createOperationWork(undefined);
  let running = 0;
  let most = 0;
  const read = () =>
    work.readPage(async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => void setImmediate(resolve));
      running -= 1;
      return [{ body: 'x'.repeat(MAX_OPERATION_BYTES / 4) }];
    });
  const pages = await Promise.allSettled(Array.from({ length: 10 }, read));
  expect(most).toBe(1);
  expect(pages.map(({ status }) => status)).toEqual([
    ...Array.from({ length: 3 }, () => 'fulfilled'),
    ...Array.from({ length: 7 }, () => 'rejected'),
  ]);
  expect(pages.at(-1)).toMatchObject({ reason: { code: 'LIMIT_EXCEEDED' } });
  work.renew();
  expect(await read()).toHaveLength(1);
});

test('work waits until the tenant has CPU time, and ends with its operation', async () => {
  let waitMs = 20;
  const spent: number[] = [];
  const work = createOperationWork({ spend: (ms) => void spent.push(ms), waitMs: () => (waitMs -= 10) });
  expect(await work.compute(() => 7)).toBe(7);
  expect([waitMs <= 0, spent.length]).toEqual([true, 1]);
  const ending = new AbortController();
  work.stopWith(ending.signal);
  ending.abort(new Error('it took too long'));
  await expect(work.compute(() => 7)).rejects.toThrow('it took too long');
});
