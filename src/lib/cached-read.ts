import { waitAtMost } from './waiting.ts';

export type CachedReadOptions = {
  /** Maximum wait of a caller, in milliseconds. */
  readonly waitMs: number;
  /** A value, or a failure, younger than this many milliseconds is not read again. */
  readonly freshMs: number;
  /** Milliseconds after that during which the old value is returned while a new one is read. */
  readonly staleMs: number;
};

/** After a slow read, the next read starts no earlier than this multiple of its duration later, unless `freshMs` is 0. */
const COOLDOWN_FACTOR = 20;

/**
 * Caches a value that callers request more often than it should be read, from a server that may be slow or unavailable:
 * at most one read runs at a time, and no caller waits longer than `waitMs`; the result of a slower read serves later
 * callers. Resolves with undefined if no value is known. Never rejects.
 */
export function cachedRead<T>(
  read: () => Promise<T>,
  { waitMs, freshMs, staleMs }: CachedReadOptions,
): () => Promise<T | undefined> {
  let known: T | undefined;
  let freshUntil = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | undefined;
  let reads = 0;

  async function readAgain(): Promise<void> {
    const begun = performance.now();
    try {
      known = await read();
    } catch {
      // A failed read means that the value is unknown.
      known = undefined;
    }
    const tookMs = performance.now() - begun;
    freshUntil = performance.now() + (freshMs > 0 ? Math.max(freshMs, COOLDOWN_FACTOR * tookMs) : 0);
    reading = undefined;
    reads += 1;
  }

  return async () => {
    if (reading === undefined && performance.now() < freshUntil) return known;
    const readBefore = reads;
    await waitAtMost(waitMs, (reading ??= readAgain()));
    return reads > readBefore || performance.now() < freshUntil + staleMs ? known : undefined;
  };
}
