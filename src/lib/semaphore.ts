type Waiter = { readonly count: number; readonly resolve: () => void };

/** A weighted semaphore: large items take several permits. */
export class WeightedSemaphore {
  readonly limit: number;
  readonly #waiting = new Set<Waiter>();
  #used = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  get free(): number {
    return Math.max(0, this.limit - this.#used);
  }

  /** Whether an acquire() waits for permits. */
  get isContended(): boolean {
    return this.#waiting.size > 0;
  }

  /**
   * Resolves when the permits are acquired; the caller must release() them. If the signal aborts first, resolves
   * without permits.
   */
  async acquire(count: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return;
    if (this.free >= count) {
      this.#used += count;
      return;
    }
    await new Promise<void>((resolve) => {
      const abort = () => {
        this.#waiting.delete(waiter);
        resolve();
      };
      const waiter = {
        count,
        resolve: () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        },
      };
      this.#waiting.add(waiter);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  /** Grants permits first come, first served, except that a waiter that needs more permits than are free is skipped. */
  release(count: number): void {
    this.#used -= count;
    for (const waiter of this.#waiting) {
      if (this.free === 0) return;
      if (waiter.count > this.free) continue;
      this.#waiting.delete(waiter);
      this.#used += waiter.count;
      waiter.resolve();
    }
  }
}

/** Wakes waiters when a state changes. Each waiter checks the state itself. */
export class ChangeSignal {
  #waiting: (() => void)[] = [];

  /** Resolves at the next notify(). */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  notify(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

type Queue = { running: number; readonly waiting: (() => void)[] };

/** Releases the permit while `wait` runs, acquires one again, and then resolves with the result of `wait`. */
export type WithoutPermit = <T>(wait: () => Promise<T>) => Promise<T>;

type FairSemaphoreOptions = {
  /** Maximum number of running tasks. */
  readonly max: number;
  readonly maxPerKey: number;
};

/** At most `max` tasks run at once; waiting tasks are started round-robin by key, such as a tenant. */
export class FairSemaphore {
  readonly #options: FairSemaphoreOptions;
  /** One queue for each key with a running or waiting task. When a task starts, its key moves to the end. */
  readonly #queues = new Map<string, Queue>();
  #running = 0;

  constructor(options: FairSemaphoreOptions) {
    this.#options = options;
  }

  waitingOf(key: string): number {
    return this.#queues.get(key)?.waiting.length ?? 0;
  }

  /** Resolves when a permit is acquired, with the function that releases it, which must be called once. */
  async acquire(key: string): Promise<() => void> {
    await this.#take(key);
    return () => {
      this.#release(key);
    };
  }

  /**
   * Runs the work when it has a permit, and settles with its result. The work waits inside `withoutPermit`, so that it
   * occupies no permit meanwhile.
   */
  async run<T>(key: string, work: (withoutPermit: WithoutPermit) => Promise<T>): Promise<T> {
    await this.#take(key);
    const withoutPermit: WithoutPermit = async (wait) => {
      this.#release(key);
      try {
        return await wait();
      } finally {
        await this.#take(key);
      }
    };
    try {
      return await work(withoutPermit);
    } finally {
      this.#release(key);
    }
  }

  #take(key: string): Promise<void> {
    const queue = this.#queues.get(key) ?? { running: 0, waiting: [] };
    this.#queues.set(key, queue);
    return new Promise((resolve) => {
      queue.waiting.push(resolve);
      this.#begin();
    });
  }

  #release(key: string): void {
    const queue = this.#queues.get(key);
    if (queue === undefined) return;
    queue.running -= 1;
    this.#running -= 1;
    if (queue.running === 0 && queue.waiting.length === 0) this.#queues.delete(key);
    this.#begin();
  }

  #begin(): void {
    const { max, maxPerKey } = this.#options;
    // Re-inserted entries are visited again by this loop, so a key can start several tasks.
    for (const [key, queue] of this.#queues) {
      if (this.#running >= max) return;
      if (queue.running >= maxPerKey) continue;
      const next = queue.waiting.shift();
      if (next === undefined) continue;
      queue.running += 1;
      this.#running += 1;
      this.#queues.delete(key);
      this.#queues.set(key, queue);
      next();
    }
  }
}
