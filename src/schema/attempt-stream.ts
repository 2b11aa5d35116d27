import { GraphQLError } from 'graphql';
import type { EventBus } from '../events/event-bus.ts';
import type { Attempt } from '../generated/prisma/client.ts';

const MAX_BUFFERED = 1_000;

/** The consumer is slower than what it watches, so a gap would follow; `after` closes it. */
function slowReaderError(): GraphQLError {
  return new GraphQLError(
    'you are reading more slowly than attempts are made; subscribe again with `after` set to the last cursor you got',
    { extensions: { code: 'SLOW_READER' } },
  );
}

/** The attempts announced since it was made, in a buffer that never holds more than 1,000. */
export class AttemptStream {
  readonly #release: () => void;
  readonly #signal: AbortSignal;
  #buffer: Attempt[] = [];
  #overflowed = false;
  #hasGap = false;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(bus: Pick<EventBus, 'watchAttempts'>, matches: (attempt: Attempt) => boolean, signal: AbortSignal) {
    this.#signal = signal;
    this.#release = bus.watchAttempts({
      onAttempt: (attempt) => {
        if (!matches(attempt)) return;
        if (this.#buffer.length < MAX_BUFFERED) this.#buffer.push(attempt);
        else this.#overflowed = true;
        this.#wake?.();
      },
      onGap: () => {
        this.#hasGap = true;
        this.#wake?.();
      },
    });
    signal.addEventListener('abort', this.end);
    if (signal.aborted) this.end();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Resolves with what has come in, or with a gap, before which nothing is left to take; undefined once the stream has
   * ended. Rejects when it overflowed.
   */
  async take(): Promise<readonly Attempt[] | 'gap' | undefined> {
    while (!this.#ended && !this.#overflowed && !this.#hasGap && this.#buffer.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#ended) return undefined;
    if (this.#overflowed) throw slowReaderError();
    if (this.#buffer.length > 0 || !this.#hasGap) return this.#drain();
    this.#hasGap = false;
    return 'gap';
  }

  /** Forgets what came in, also that it was too much. */
  clear(): void {
    this.#drain();
    this.#overflowed = false;
  }

  /** Stops watching, and ends a `take` that waits. */
  readonly end = (): void => {
    this.#ended = true;
    this.#signal.removeEventListener('abort', this.end);
    this.#release();
    this.#wake?.();
  };

  #drain(): Attempt[] {
    const taken = this.#buffer;
    this.#buffer = [];
    return taken;
  }
}
