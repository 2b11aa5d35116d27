export type LatestSink<T> = {
  readonly emit: (value: T) => void;
  /** Ends the stream after the last emitted value. */
  readonly end: () => void;
};

/**
 * A stream of states: yields the last value that the source has emitted. A value that was not read yet is replaced. The
 * stream ends with the source, when its reader leaves, or when the signal aborts. The function that `subscribe` has returned
 * is called when the reader has read the end or leaves, or when the signal aborts. The reader requests one value at a time.
 */
export function latestValues<T>(
  subscribe: (sink: LatestSink<T>) => () => void,
  signal: AbortSignal,
): AsyncIterableIterator<T, undefined> {
  let latest: { readonly value: T } | undefined;
  let isOver = false;
  let wake: () => void = () => undefined;
  const end = () => {
    isOver = true;
    wake();
  };
  const emit = (value: T) => {
    if (!isOver) latest = { value };
    wake();
  };
  const unsubscribe = signal.aborted ? end : subscribe({ emit, end });
  const close = () => {
    latest = undefined;
    end();
    unsubscribe();
    signal.removeEventListener('abort', close);
  };
  signal.addEventListener('abort', close);
  if (signal.aborted) close();
  return {
    next: async () => {
      while (latest === undefined && !isOver) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      const taken = latest;
      latest = undefined;
      if (taken !== undefined) return { done: false, value: taken.value };
      close();
      return { done: true, value: undefined };
    },
    return: () => {
      close();
      return Promise.resolve({ done: true, value: undefined });
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
