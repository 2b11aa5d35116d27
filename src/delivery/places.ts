/** So many places to be taken at a time; what is large takes several. */
export class Places {
  readonly #limit: number;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get free(): number {
    return Math.max(0, this.#limit - this.#taken);
  }

  /** Resolves when there are places, to be given back with release(); or, without any, when the signal aborts. */
  async acquire(count: number, signal: AbortSignal): Promise<void> {
    while (this.free < count && !signal.aborted) await this.#nextRelease(signal);
    if (!signal.aborted) this.#taken += count;
  }

  release(count: number): void {
    this.#taken -= count;
    for (const wake of [...this.#waiting]) wake();
  }

  #nextRelease(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake);
    });
  }
}
