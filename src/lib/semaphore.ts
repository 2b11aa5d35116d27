type Waiter = { readonly count: number; readonly resolve: () => void };

/** So many places to be taken at a time; what is large takes several. */
export class WeightedSemaphore {
  readonly limit: number;
  readonly #waiting = new Set<Waiter>();
  #taken = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get used(): number {
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

type Line = { running: number; readonly waiting: (() => void)[] };

/** Gives up the turn while `wait` runs, and resolves with its result when it is the work's turn again. */
export type RestTurn = <T>(wait: () => Promise<T>) => Promise<T>;

type FairSemaphoreOptions = {
  /** What runs at a time in all. */
  readonly max: number;
  readonly maxPerHolder: number;
};

/** So much runs at a time; of what waits, each holder's next is begun in turn, however much another has waiting. */
export class FairSemaphore {
  readonly #options: FairSemaphoreOptions;
  /** Of those that have something running or waiting; who has had a turn goes to the end. */
  readonly #lines = new Map<string, Line>();
  #running = 0;

  constructor(options: FairSemaphoreOptions) {
    this.#options = options;
  }

  waitingOf(holder: string): number {
    return this.#lines.get(holder)?.waiting.length ?? 0;
  }

  /** Begins the work when it is its turn; resolves and rejects as it does. Work that only waits does so in `rest`. */
  async run<T>(holder: string, work: (rest: RestTurn) => Promise<T>): Promise<T> {
    await this.#take(holder);
    const rest: RestTurn = async (wait) => {
      this.#release(holder);
      try {
        return await wait();
      } finally {
        await this.#take(holder);
      }
    };
    try {
      return await work(rest);
    } finally {
      this.#release(holder);
    }
  }

  #take(holder: string): Promise<void> {
    const line = this.#lines.get(holder) ?? { running: 0, waiting: [] };
    this.#lines.set(holder, line);
    return new Promise((resolve) => {
      line.waiting.push(resolve);
      this.#begin();
    });
  }

  #release(holder: string): void {
    const line = this.#lines.get(holder);
    if (line === undefined) return;
    line.running -= 1;
    this.#running -= 1;
    if (line.running === 0 && line.waiting.length === 0) this.#lines.delete(holder);
    this.#begin();
  }

  #begin(): void {
    const { max, maxPerHolder } = this.#options;
    // What is put at the end while it goes through them comes up again: a holder may have several turns.
    for (const [holder, line] of this.#lines) {
      if (this.#running >= max) return;
      if (line.running >= maxPerHolder) continue;
      const next = line.waiting.shift();
      if (next === undefined) continue;
      line.running += 1;
      this.#running += 1;
      this.#lines.delete(holder);
      this.#lines.set(holder, line);
      next();
    }
  }
}
