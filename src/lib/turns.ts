type Line = { running: number; readonly waiting: (() => void)[] };

/** Gives up the turn while `wait` runs, and resolves with its result when it is the work's turn again. */
export type Rest = <T>(wait: () => Promise<T>) => Promise<T>;

export type TurnsOptions = {
  /** What runs at a time in all. */
  readonly max: number;
  readonly maxPerHolder: number;
};

/** So much runs at a time; of what waits, each holder's next is begun in turn, however much another has waiting. */
export class Turns {
  readonly #options: TurnsOptions;
  /** Of those that have something running or waiting; who has had a turn goes to the end. */
  readonly #lines = new Map<string, Line>();
  #running = 0;

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  waitingOf(holder: string): number {
    return this.#lines.get(holder)?.waiting.length ?? 0;
  }

  /** Begins the work when it is its turn; resolves and rejects as it does. Work that only waits does so in `rest`. */
  async run<T>(holder: string, work: (rest: Rest) => Promise<T>): Promise<T> {
    await this.#take(holder);
    const rest: Rest = async (wait) => {
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
