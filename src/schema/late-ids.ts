import { isLate } from '../events/attempt-feed.ts';

/** As many as a sender commits at once. */
const MAX_IDS = 500;

/**
 * What a reader was shown from Postgres so long after its id was made that its announcement, if it is yet to come, may be
 * one of those that are shown although everything around them has been seen. The last 500 of them.
 */
export class LateIds {
  readonly #ids = new Set<string>();
  #addedAt = 0;

  add(id: string): void {
    if (!isLate(id)) return;
    this.#addedAt = Date.now();
    this.#ids.add(id);
    const [oldest] = this.#ids;
    if (this.#ids.size > MAX_IDS && oldest !== undefined) this.#ids.delete(oldest);
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  /** All that was committed by then has been announced. */
  settle(timeMs: number): void {
    if (this.#addedAt < timeMs) this.#ids.clear();
  }
}
