export type BatcherOptions<T> = {
  readonly maxItems: number;
  /** A batch is full with the item that brings it to this size. */
  readonly maxBytes: number;
  readonly bytesOf: (item: T) => number;
  /** Writes a batch; if it rejects, every add() of the batch does. */
  readonly write: (items: readonly T[]) => Promise<void>;
};

type Waiting<T> = { readonly item: T; readonly resolve: () => void; readonly reject: (error: unknown) => void };

/**
 * Collects items while the previous batch is being written, so that batches grow with the load and an idle system
 * waits for nothing. One batch at a time, in the order of add().
 */
export class Batcher<T> {
  readonly #options: BatcherOptions<T>;
  #waiting: Waiting<T>[] = [];
  #writing = false;

  constructor(options: BatcherOptions<T>) {
    this.#options = options;
  }

  /** How many items wait to be part of a batch. */
  get size(): number {
    return this.#waiting.length;
  }

  /** Resolves when the item has been written. */
  add(item: T): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (!this.#writing) {
        this.#writing = true;
        // Later in this turn of the event loop, so that what arrives together is written together.
        setImmediate(() => void this.#writeAll());
      }
    });
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch();
      try {
        await this.#options.write(batch.map(({ item }) => item));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#writing = false;
  }

  #takeBatch(): Waiting<T>[] {
    const { maxItems, maxBytes, bytesOf } = this.#options;
    let count = 0;
    for (let bytes = 0; count < Math.min(maxItems, this.#waiting.length) && bytes < maxBytes; count += 1) {
      const waiting = this.#waiting[count];
      bytes += waiting === undefined ? 0 : bytesOf(waiting.item);
    }
    return this.#waiting.splice(0, count);
  }
}
