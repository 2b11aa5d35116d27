type Waiter = { readonly count: number; readonly resolve: () => void };

/** So many places to be taken at a time; what is large takes several. */
export class Places {
  readonly limit: number;
  readonly #waiting = new Set<Waiter>();
  #taken = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get taken(): number {
    return this.#taken;
  }

  get free(): number {
    return Math.max(0, this.limit - this.#taken);
  }

  /** Resolves when there are places, to be given back with release(); or, without any, when the signal aborts. */
  async acquire(count: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return;
    if (this.free >= count) {
      this.#taken += count;
      return;
    }
    await new Promise<void>((resolve) => {
      const giveUp = () => {
        this.#waiting.delete(waiter);
        resolve();
      };
      const waiter = {
        count,
        resolve: () => {
          signal?.removeEventListener('abort', giveUp);
          resolve();
        },
      };
      this.#waiting.add(waiter);
      signal?.addEventListener('abort', giveUp, { once: true });
    });
  }

  /** Those that wait longest come first, but for what they are too large for. */
  release(count: number): void {
    this.#taken -= count;
    for (const waiter of this.#waiting) {
      if (this.free === 0) return;
      if (waiter.count > this.free) continue;
      this.#waiting.delete(waiter);
      this.#taken += waiter.count;
      waiter.resolve();
    }
  }
}
