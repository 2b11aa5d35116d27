import { isRowSpecific, isTimeout } from './errors.ts';

export type BatcherOptions<T, R> = {
  readonly maxItems: number;
  /** A batch is full when the total size of its items reaches this number of bytes. By default only `maxItems` limits it. */
  readonly maxBytes?: number;
  readonly bytesOf?: (item: T) => number;
  readonly pace?: Pace;
  /**
   * Writes a batch atomically and returns an answer for each item. If it rejects with an error that one item may have
   * caused (isRowSpecific), it is called again with parts of the batch, in the end with single items. After any other error
   * every add() of the batch rejects.
   */
  readonly write: (items: readonly T[]) => Promise<readonly R[]>;
};

/** Makes larger batches of items that need not be written immediately. */
export type Pace = {
  /**
   * Minimum time between the starts of two batches, in milliseconds. The first item after an idle interval is written
   * immediately.
   */
  readonly intervalMs: number;
  /** A batch of this number of items starts before the interval ends. */
  readonly maxItems: number;
  /** While this returns true, items are written immediately. When it becomes true, the caller must call flush(). */
  readonly isUrgent: () => boolean;
};

/** The pace at which results of attempts are written and events are acknowledged (ADR 42). */
export const BATCH_EVERY_100_MS = { intervalMs: 100, maxItems: 32 } as const;

type Waiting<T, R> = {
  readonly item: T;
  readonly resolve: (answer: R) => void;
  readonly reject: (error: unknown) => void;
};

/**
 * Collects items while the previous batch is being written, and, with a pace, until the next batch is due. Batches
 * therefore grow with the load, and without load an item is written immediately. One batch is written at a time, in the
 * order of add(). An item that cannot be written does not make other items fail.
 */
export class Batcher<T, R> {
  readonly #options: BatcherOptions<T, R>;
  #waiting: Waiting<T, R>[] = [];
  #waitingBytes = 0;
  #writing = false;
  /** The start of the last batch, on the clock of performance.now(). */
  #batchStartedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: BatcherOptions<T, R>) {
    this.#options = options;
  }

  /** Whether the waiting items fill a batch. Callers that can wait should then wait before they add items. */
  get isFull(): boolean {
    const { maxItems, maxBytes = Number.POSITIVE_INFINITY } = this.#options;
    return this.#waiting.length >= maxItems || this.#waitingBytes >= maxBytes;
  }

  /** Resolves with the item's answer after the item has been written. */
  add(item: T): Promise<R> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#waitingBytes += this.#bytesOf(item);
      this.#schedule();
    });
  }

  /** Writes the waiting items without waiting until the pace allows it. */
  flush(): void {
    if (this.#waiting.length > 0 && !this.#writing) this.#startBatch();
  }

  #schedule(): void {
    if (this.#waiting.length === 0 || this.#writing) return;
    const waitMs = this.#waitMs();
    if (waitMs <= 0) this.#startBatch();
    else {
      this.#timer ??= setTimeout(() => {
        this.#startBatch();
      }, waitMs);
    }
  }

  #waitMs(): number {
    const { pace } = this.#options;
    if (pace === undefined || this.#waiting.length >= pace.maxItems || pace.isUrgent()) return 0;
    return this.#batchStartedAt + pace.intervalMs - performance.now();
  }

  #startBatch(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = true;
    // Later in this turn of the event loop, so that items that are added in the same turn are written together.
    setImmediate(() => void this.#writeAll());
  }

  async #writeAll(): Promise<void> {
    do {
      this.#batchStartedAt = performance.now();
      const batch = this.#takeBatch();
      await this.#write(batch).catch((error: unknown) => {
        // The promises of written items are already resolved: reject() has no effect on them.
        for (const { reject } of batch) reject(error);
      });
    } while (this.#waiting.length > 0 && this.#waitMs() <= 0);
    this.#writing = false;
    this.#schedule();
  }

  /** Rejects if the error was not caused by a single item. */
  async #write(batch: readonly Waiting<T, R>[]): Promise<void> {
    try {
      const answers = await this.#options.write(batch.map(({ item }) => item));
      // `as`: write() returns one answer for each item, which its type cannot express.
      batch.forEach(({ resolve }, index) => {
        resolve(answers[index] as R);
      });
    } catch (error) {
      if (!isRowSpecific(error)) throw error;
      if (batch.length === 1) for (const { reject } of batch) reject(error);
      else await this.#writeParts(batch, error);
    }
  }

  /**
   * Halving finds the failing item in the fewest writes. After a timeout items are written one by one, because each half
   * that contains the failing item would take a full timeout again.
   */
  async #writeParts(batch: readonly Waiting<T, R>[], error: unknown): Promise<void> {
    const size = isTimeout(error) ? 1 : Math.ceil(batch.length / 2);
    for (let start = 0; start < batch.length; start += size) await this.#write(batch.slice(start, start + size));
  }

  #takeBatch(): Waiting<T, R>[] {
    const { maxItems, maxBytes = Number.POSITIVE_INFINITY } = this.#options;
    let [count, bytes] = [0, 0];
    for (const { item } of this.#waiting) {
      if (count === maxItems || bytes >= maxBytes) break;
      count += 1;
      bytes += this.#bytesOf(item);
    }
    this.#waitingBytes -= bytes;
    return this.#waiting.splice(0, count);
  }

  #bytesOf(item: T): number {
    return this.#options.bytesOf?.(item) ?? 0;
  }
}
