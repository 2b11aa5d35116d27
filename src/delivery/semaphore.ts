/** Lets so many through at once. */
export class Semaphore {
  readonly #limit: number;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Resolves when there is a place, to be given back with release(); or, without a place, when the signal aborts. */
  async acquire(signal: AbortSignal): Promise<void> {
    while (this.#taken >= this.#limit && !signal.aborted) await this.#nextRelease(signal);
    if (!signal.aborted) this.#taken += 1;
  }

  release(): void {
    this.#taken -= 1;
    const [wake] = this.#waiting;
    wake?.();
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
