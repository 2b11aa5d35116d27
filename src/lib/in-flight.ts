/** Tracks operations in progress, so that a stop can wait for them. */
export class InFlight {
  readonly #works = new Set<Promise<unknown>>();

  /** Returns a promise that settles with the result of the work. */
  track<T>(work: Promise<T>): Promise<T> {
    this.#works.add(work);
    const forget = () => {
      this.#works.delete(work);
    };
    work.then(forget, forget);
    return work;
  }

  /** Resolves when no operation is in flight, including operations that start in the meantime. */
  async settled(): Promise<void> {
    while (this.#works.size > 0) await Promise.allSettled(this.#works);
  }
}

/**
 * Yields the same values. The computation of a value counts as in flight until it has ended, even if the reader has
 * left.
 */
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
