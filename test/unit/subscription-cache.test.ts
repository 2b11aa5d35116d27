import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import type { Database } from '../../src/postgres/client.ts';
import { SubscriptionCache } from '../../src/subscriptions/cache.ts';
import { createSecretBox, headersContext } from '../../src/subscriptions/secrets.ts';

const box = createSecretBox(randomBytes(32).toString('base64'));

/** A cache of the rows that `rowOf` returns. `reads` has the ids in the order of their reads. */
function startCache(rowOf: (id: string) => Record<string, unknown> = () => ({}), maxBytes?: number) {
  const reads: string[] = [];
  const query = async (_text: string, [ids]: [readonly string[]]) => {
    reads.push(...ids);
    await Promise.resolve();
    const rows = ids.map((id) => ({
      id,
      tenant: 'acme',
      url: 'https://example.com/',
      version: '1',
      secrets: [],
      ...rowOf(id),
    }));
    return { rows: rows.map((row) => ({ encryptedHeaders: null, ...row })) };
  };
  // `as`: the part of the database that the cache uses.
  const cache = new SubscriptionCache({ pool: { query } } as unknown as Database, box, maxBytes);
  return { cache, reads };
}

it('a subscription is read once, and again for a later version or after it was evicted', async () => {
  let version = 1;
  const { cache, reads } = startCache(() => ({ version: String(version) }));
  await Promise.all([cache.get('a', 1), cache.get('a', 0)]);
  await cache.get('a', 1);
  expect(reads).toEqual(['a']);
  version = 2;
  expect(await cache.get('a', 2)).toMatchObject({ id: 'a', version: 2 });
  expect(await cache.get('a', 1)).toMatchObject({ version: 2 });
  expect(reads).toEqual(['a', 'a']);
  cache.forget('a');
  await cache.get('a', 2);
  expect(reads).toHaveLength(3);
});

it('a read in progress during an eviction is not cached', async () => {
  const { cache, reads } = startCache();
  const early = cache.get('a', 0);
  cache.forget('a');
  await early;
  await cache.get('a', 0);
  expect(reads).toEqual(['a', 'a']);
});

it('a failed read is repeated', async () => {
  let fails = true;
  const { cache, reads } = startCache(() => {
    if (fails) throw new Error('Postgres is gone');
    return {};
  });
  await expect(cache.get('a', 0)).rejects.toThrow('Postgres is gone');
  fails = false;
  expect(await cache.get('a', 0)).toMatchObject({ id: 'a' });
  expect(reads).toEqual(['a', 'a']);
});

it('the cache is bounded by size: it holds fewer subscriptions with large headers', async () => {
  const maxBytes = 1024 * 1024;
  const countKept = async (headers: Record<string, string>) => {
    const sealed = JSON.stringify(headers);
    const rowOf = (id: string) => ({ encryptedHeaders: box.seal(sealed, headersContext(id, 'acme')) });
    const { cache, reads } = startCache(rowOf, maxBytes);
    const ids = Array.from({ length: 1_000 }, (_, index) => `${index}`);
    await Promise.all(ids.map((id) => cache.get(id, 0)));
    const first = reads.length;
    for (const id of ids.toReversed()) {
      await cache.get(id, 0);
      if (reads.length > first) return ids.length - 1 - Number(id);
    }
    return ids.length;
  };
  const [few, many] = [await countKept({ 'x-large': 'x'.repeat(4_000) }), await countKept({})];
  expect(few).toBeLessThan(maxBytes / 4_000);
  expect(few).toBeGreaterThan(maxBytes / 8_000);
  expect(many).toBeGreaterThan(2 * few);
  expect(many).toBeLessThan(1_000);
});
