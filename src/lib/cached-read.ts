import { atMost } from './loop.ts';

export type CachedReadOptions = {
  /** How long nobody may have to wait for it. */
  readonly waitMs: number;
  /** What is younger than this is not read again, nor what failed such a short time ago. */
  readonly freshMs: number;
  /** For how long after that it may be shown while it is read again. */
  readonly staleMs: number;
};

/** What took long to read is not read again for so many times as long. */
const COOLDOWN_FACTOR = 20;

/**
 * For what is shown more often than it should be read, from a server that may be slow or dead: at most one read at a
 * time, and nobody waits for it longer than `waitMs`; a read that takes longer is for those who ask later. Resolves with
 * undefined if nothing is known. Never rejects.
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
      // That it is not known is all there is to say about it here.
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
    await atMost(waitMs, (reading ??= readAgain()));
    return reads > readBefore || performance.now() < freshUntil + staleMs ? known : undefined;
  };
}
