import pg from 'pg';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Batcher } from '../../src/postgres/batcher.ts';

type Options = { readonly maxItems?: number; readonly maxBytes?: number };

/** Doubles numbers; the number is also the size in bytes. Fails on a batch with a zero. */
function doubling({ maxItems = 100, maxBytes = 1_000 }: Options = {}) {
  const batches: (readonly number[])[] = [];
  const batcher = new Batcher<number, number>({
    maxItems,
    maxBytes,
    bytesOf: (item) => item,
    write: async (items) => {
      batches.push(items);
      await new Promise((resolve) => setImmediate(resolve));
      if (items.includes(0)) throw new Error('a zero');
      return items.map((item) => item * 2);
    },
  });
  return { batcher, batches };
}

it('items added together are written together, and each gets its own result', async () => {
  const { batcher, batches } = doubling();
  expect(await Promise.all([1, 2, 3].map((item) => batcher.add(item)))).toEqual([2, 4, 6]);
  expect(batches).toEqual([[1, 2, 3]]);
});

it('items added during a write are part of the next one', async () => {
  const { batcher, batches } = doubling();
  const first = batcher.add(1);
  await new Promise((resolve) => setImmediate(resolve));
  const others = [batcher.add(2), batcher.add(3)];
  expect(await Promise.all([first, ...others])).toEqual([2, 4, 6]);
  expect(batches).toEqual([[1], [2, 3]]);
});

it('a batch is full at the item limit, or with the item that reaches the byte limit', async () => {
  const { batcher, batches } = doubling({ maxItems: 3, maxBytes: 10 });
  await Promise.all([1, 1, 1, 4, 7, 9, 50, 2].map((item) => batcher.add(item)));
  expect(batches).toEqual([[1, 1, 1], [4, 7], [9, 50], [2]]);
});

it('isFull is true when the waiting items make a full batch', async () => {
  const { batcher } = doubling({ maxItems: 3, maxBytes: 10 });
  const seen = [4, 5, 1, 1].map((item) => {
    void batcher.add(item);
    return batcher.isFull;
  });
  expect(seen).toEqual([false, false, true, true]);
  await batcher.add(1);
  const next = batcher.add(9);
  expect(batcher.isFull).toBe(false);
  await next;
});

it('a failure that no single item causes fails only its own batch', async () => {
  const { batcher } = doubling({ maxItems: 2 });
  const outcomes = await Promise.allSettled([1, 0, 3].map((item) => batcher.add(item)));
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
  expect(await batcher.add(4)).toBe(8);
});

describe('a write that may have failed because of one item', () => {
  /** `codes`: the SQLSTATE with which Postgres rejects a batch, by the item that causes it. */
  function refusing(codes: Readonly<Record<number, string>>) {
    const batches: (readonly number[])[] = [];
    const batcher = new Batcher<number, number>({
      maxItems: 8,
      write: (items) => {
        batches.push(items);
        const code = items.map((item) => codes[item]).find((found) => found !== undefined);
        if (code === undefined) return Promise.resolve(items.map((item) => item * 2));
        return Promise.reject(Object.assign(new pg.DatabaseError(`refused (${code})`, 7, 'error'), { code }));
      },
    });
    const add = async (items: readonly number[]) => {
      const outcomes = await Promise.allSettled(items.map((item) => batcher.add(item)));
      return outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : 'rejected'));
    };
    return { add, batches };
  }

  it('is repeated with halves of the batch: the other items are written in order', async () => {
    const { add, batches } = refusing({ 6: '22P02' });
    expect(await add([1, 2, 3, 4, 5, 6, 7])).toEqual([2, 4, 6, 8, 10, 'rejected', 14]);
    expect(batches.slice(1)).toEqual([[1, 2, 3, 4], [5, 6, 7], [5, 6], [5], [6], [7]]);
  });

  it('finds every such item', async () => {
    const { add } = refusing({ 1: '40001', 4: '22P02', 8: '58030' });
    expect(await add([1, 2, 3, 4, 5, 6, 7, 8])).toEqual(['rejected', 4, 6, 'rejected', 10, 12, 14, 'rejected']);
    expect(await add([2])).toEqual([4]);
  });

  it('is repeated with each item alone after a timeout, because halves could time out again', async () => {
    const { add, batches } = refusing({ 2: '57014' });
    expect(await add([1, 2, 3, 4])).toEqual([2, 'rejected', 6, 8]);
    expect(batches.slice(1)).toEqual([[1], [2], [3], [4]]);
  });

  it('is not repeated after Postgres becomes unavailable', async () => {
    const { add, batches } = refusing({ 3: '57014', 2: '57P01' });
    expect(await add([3, 1, 2, 4, 5])).toEqual(['rejected', 2, 'rejected', 'rejected', 'rejected']);
    expect(batches.slice(1)).toEqual([[3], [1], [2]]);
  });
});

describe('with a pace of 100 ms or 3 items,', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  function paced() {
    vi.useFakeTimers();
    const batches: (readonly number[])[] = [];
    const state = { isUrgent: false };
    const batcher = new Batcher<number, number>({
      maxItems: 8,
      pace: { intervalMs: 100, maxItems: 3, isUrgent: () => state.isUrgent },
      write: (items) => {
        batches.push(items);
        return Promise.resolve(items);
      },
    });
    return { batcher, batches, state };
  }

  it('the first item is written at once, and the next ones when 100 ms have passed', async () => {
    const { batcher, batches } = paced();
    await Promise.all([batcher.add(1), vi.advanceTimersByTimeAsync(0)]);
    void batcher.add(2);
    await vi.advanceTimersByTimeAsync(60);
    void batcher.add(3);
    await vi.advanceTimersByTimeAsync(30);
    expect(batches).toEqual([[1]]);
    await vi.advanceTimersByTimeAsync(20);
    expect(batches).toEqual([[1], [2, 3]]);
    await vi.advanceTimersByTimeAsync(200);
    void batcher.add(4);
    await vi.advanceTimersByTimeAsync(1);
    expect(batches).toEqual([[1], [2, 3], [4]]);
  });

  it('the third item is written with those before it', async () => {
    const { batcher, batches } = paced();
    await Promise.all([batcher.add(1), vi.advanceTimersByTimeAsync(0)]);
    for (const item of [2, 3]) void batcher.add(item);
    await vi.advanceTimersByTimeAsync(1);
    expect(batches).toEqual([[1]]);
    void batcher.add(4);
    await vi.advanceTimersByTimeAsync(1);
    expect(batches).toEqual([[1], [2, 3, 4]]);
  });

  it('writes items immediately after flush(), and while they are urgent', async () => {
    const { batcher, batches, state } = paced();
    await Promise.all([batcher.add(1), vi.advanceTimersByTimeAsync(0)]);
    void batcher.add(2);
    await vi.advanceTimersByTimeAsync(1);
    batcher.flush();
    await vi.advanceTimersByTimeAsync(1);
    expect(batches).toEqual([[1], [2]]);
    state.isUrgent = true;
    void batcher.add(3);
    await vi.advanceTimersByTimeAsync(1);
    expect(batches).toEqual([[1], [2], [3]]);
  });
});
