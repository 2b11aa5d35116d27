import { isRowSpecific, isTimeout } from './errors.ts';

export type BatcherOptions<T, R> = {
  readonly maxItems: number;
  /** A batch is full with the item that brings it to this size; by default only their number counts. */
  readonly maxBytes?: number;
  readonly bytesOf?: (item: T) => number;
  readonly pace?: Pace;
  /**
   * Writes a batch, or nothing of it, and returns what to answer to each item. If it rejects with what may be one item's
   * fault, it is called again with less of the batch, at last with each item alone; else every add() of the batch rejects.
   */
  readonly write: (items: readonly T[]) => Promise<readonly R[]>;
};

/** Makes larger batches of items that nobody waits for. */
export type Pace = {
  /** From the begin of a batch to that of the next one, in milliseconds: the first item of a quiet time is written at once. */
  readonly intervalMs: number;
  /** This number of items is written before that. */
  readonly maxItems: number;
  /** Whether items are written at once now. When it becomes true, call hurry(). */
  readonly isUrgent: () => boolean;
};

/** The pace of results and acks: ADR 42. */
export const TEN_A_SECOND = { intervalMs: 100, maxItems: 32 } as const;

type Waiting<T, R> = {
  readonly item: T;
  readonly resolve: (answer: R) => void;
  readonly reject: (error: unknown) => void;
};

/**
 * Collects items while the previous batch is being written, so that batches grow with the load and an idle system
 * waits for nothing; with a pace, also until the next batch is due. One batch at a time, in the order of add(). An item that
 * cannot be written takes no other with it.
 */
export class Batcher<T, R> {
  readonly #options: BatcherOptions<T, R>;
  #waiting: Waiting<T, R>[] = [];
  #waitingBytes = 0;
  #writing = false;
  /** When the last batch began (performance.now()). */
  #begunAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: BatcherOptions<T, R>) {
    this.#options = options;
  }

  /** Whether the waiting items make a full batch: callers that can wait should. */
  get isFull(): boolean {
    const { maxItems, maxBytes = Number.POSITIVE_INFINITY } = this.#options;
    return this.#waiting.length >= maxItems || this.#waitingBytes >= maxBytes;
  }

  /** Resolves with the answer when the item has been written. */
  add(item: T): Promise<R> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#waitingBytes += this.#bytesOf(item);
      this.#schedule();
    });
  }

  /** Writes the waiting items without waiting for the pace. */
  hurry(): void {
    if (this.#waiting.length > 0 && !this.#writing) this.#begin();
  }

  #schedule(): void {
    if (this.#waiting.length === 0 || this.#writing) return;
    const waitMs = this.#waitMs();
    if (waitMs <= 0) this.#begin();
    else {
      this.#timer ??= setTimeout(() => {
        this.#begin();
      }, waitMs);
    }
  }

  #waitMs(): number {
    const { pace } = this.#options;
    if (pace === undefined || this.#waiting.length >= pace.maxItems || pace.isUrgent()) return 0;
    return this.#begunAt + pace.intervalMs - performance.now();
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = true;
    // Later in this turn of the event loop, so that what arrives together is written together.
    setImmediate(() => void this.#writeAll());
  }

  async #writeAll(): Promise<void> {
    do {
      this.#begunAt = performance.now();
      const batch = this.#takeBatch();
      await this.#write(batch).catch((error: unknown) => {
        // Those that have been written have their answers already.
        for (const { reject } of batch) reject(error);
      });
    } while (this.#waiting.length > 0 && this.#waitMs() <= 0);
    this.#writing = false;
    this.#schedule();
  }

  /** Rejects with what is no item's fault. */
  async #write(batch: readonly Waiting<T, R>[]): Promise<void> {
    try {
      const answers = await this.#options.write(batch.map(({ item }) => item));
      // One answer for each item: the type of write() cannot say so.
      batch.forEach(({ resolve }, index) => {
        resolve(answers[index] as R);
      });
    } catch (error) {
      if (!isRowSpecific(error)) throw error;
      if (batch.length === 1) for (const { reject } of batch) reject(error);
      else await this.#writeParts(batch, error);
    }
  }

  /** Halves find an item in the fewest writes; but each that hangs on it takes as long as all of them did. */
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
