const MAX_BUFFERED = 1_000;

/** The interface through which a buffer is filled. */
type Sink<Item> = {
  /** `merge`: returns the item that replaces the last one and the new one; undefined: both are kept. */
  readonly push: (item: Item, merge?: (last: Item) => Item | undefined) => void;
  /** Items may be missing from here on: the reader must read them from Postgres. */
  readonly gap: () => void;
};

type LiveBufferOptions<Item> = {
  /** Starts to fill the buffer, until the returned function is called. */
  readonly watch: (sink: Sink<Item>) => () => void;
  /** Ends the buffer. */
  readonly signal: AbortSignal;
  /** Whether an item is kept at a gap, because the reader may not find it in Postgres. Default: none. */
  readonly survivesGap?: (item: Item) => boolean;
  /** Default: 1,000. */
  readonly maxBuffered?: number | undefined;
};

/**
 * The items, by default at most 1,000, that a live stream has not emitted yet. If a slow reader lets the buffer overflow, that is a
 * gap, which the reader reads from Postgres.
 */
export class LiveBuffer<Item> {
  readonly #release: () => void;
  readonly #signal: AbortSignal;
  readonly #survivesGap: (item: Item) => boolean;
  readonly #maxBuffered: number;
  #items: Item[] = [];
  #hasGap = false;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor({ watch, signal, survivesGap = () => false, maxBuffered = MAX_BUFFERED }: LiveBufferOptions<Item>) {
    this.#signal = signal;
    this.#survivesGap = survivesGap;
    this.#maxBuffered = maxBuffered;
    this.#release = watch({
      push: (item, merge) => {
        this.#push(item, merge);
      },
      gap: this.#gap,
    });
    signal.addEventListener('abort', this.end);
    if (signal.aborted) this.end();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Resolves with the buffered items, or with a gap that precedes them; undefined once the stream has ended. */
  async take(): Promise<readonly Item[] | 'gap' | undefined> {
    while (!this.#ended && !this.#hasGap && this.#items.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#ended) return undefined;
    if (this.#hasGap) {
      this.#hasGap = false;
      return 'gap';
    }
    const taken = this.#items;
    this.#items = [];
    return taken;
  }

  #push(item: Item, merge?: (last: Item) => Item | undefined): void {
    const last = this.#items.at(-1);
    const merged = last === undefined ? undefined : merge?.(last);
    if (merged !== undefined) this.#items.pop();
    if (this.#items.length >= this.#maxBuffered) this.#gap();
    if (this.#items.length < this.#maxBuffered) this.#items.push(merged ?? item);
    this.#wake?.();
  }

  readonly #gap = (): void => {
    this.#items = this.#items.filter(this.#survivesGap);
    this.#hasGap = true;
    this.#wake?.();
  };

  /** Discards all items for which `isKept` returns false. */
  keep(isKept: (item: Item) => boolean): void {
    this.#items = this.#items.filter(isKept);
  }

  /** Stops watching, and ends a pending `take`. */
  readonly end = (): void => {
    this.#ended = true;
    this.#signal.removeEventListener('abort', this.end);
    this.#release();
    this.#wake?.();
  };
}

/** A failure is the last emission. The resolver throws its error, so that every transport reports it in the same way. */
export type Emission<Value> =
  | { readonly kind: 'value'; readonly value: Value }
  | { readonly kind: 'failure'; readonly error: unknown };

type Source<Item, Value> = {
  readonly buffer: LiveBuffer<Item>;
  /** Must end when the buffer has ended. */
  readonly values: AsyncGenerator<Value, void>;
};

/** Emits the values of a live stream. `return` ends it at once, even while it waits. */
export function emissionsOf<Item, Value>(source: Source<Item, Value>): AsyncIterableIterator<Emission<Value>> {
  const emissions = emit(source);
  return {
    next: () => emissions.next(),
    // A generator's own `return` would wait for the next value.
    return: () => {
      source.buffer.end();
      return emissions.return(undefined);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

async function* emit<Item, Value>({ buffer, values }: Source<Item, Value>): AsyncGenerator<Emission<Value>, undefined> {
  try {
    for await (const value of values) yield { kind: 'value', value };
  } catch (error) {
    if (!buffer.ended) yield { kind: 'failure', error };
  } finally {
    buffer.end();
  }
}
