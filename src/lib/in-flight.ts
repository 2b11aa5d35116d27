/** Operations in progress, so that a stop can wait for them. */
export class InFlight {
  readonly #works = new Set<Promise<unknown>>();

  /** Resolves and rejects as the work does. */
  track<T>(work: Promise<T>): Promise<T> {
    this.#works.add(work);
    const forget = () => {
      this.#works.delete(work);
    };
    work.then(forget, forget);
    return work;
  }

  /** Resolves when nothing is in flight, what is begun in the meantime included. */
  async settled(): Promise<void> {
    while (this.#works.size > 0) await Promise.allSettled(this.#works);
  }
}

/** The same values; what computes one is in flight until it has ended, also when its reader has left before. */
export function trackValues<T>(inFlight: InFlight, values: AsyncIterable<T>): AsyncIterableIterator<T> {
  const source = values[Symbol.asyncIterator]();
  return {
    next: () => inFlight.track(source.next()),
    return: async () => (await source.return?.()) ?? { done: true, value: undefined },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
