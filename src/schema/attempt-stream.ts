import type { LiveLog } from '../events/live-log.ts';
import type { Attempt } from '../generated/prisma/client.ts';

/** An attempt, or the id up to which there are no more of them. */
export type StreamItem =
  | { readonly kind: 'attempt'; readonly attempt: Attempt }
  | { readonly kind: 'settled'; readonly id: string };

const MAX_BUFFERED = 1_000;

/**
 * The attempts committed since it was made, in a buffer that never holds more than 1,000: what a slow reader has no
 * room for is a gap, to be read from Postgres.
 */
export class AttemptStream {
  readonly #release: () => void;
  readonly #signal: AbortSignal;
  #buffer: StreamItem[] = [];
  #hasGap = false;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(liveLog: Pick<LiveLog, 'watch'>, matches: (attempt: Attempt) => boolean, signal: AbortSignal) {
    this.#signal = signal;
    this.#release = liveLog.watch({
      onAttempt: (attempt) => {
        if (matches(attempt)) this.#push({ kind: 'attempt', attempt });
      },
      onGap: this.#onGap,
      onSettled: (id) => {
        if (this.#buffer.at(-1)?.kind === 'settled') this.#buffer.pop();
        this.#push({ kind: 'settled', id });
      },
    });
    signal.addEventListener('abort', this.end);
    if (signal.aborted) this.end();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Resolves with what has come in since, or with a gap that comes before it; undefined once the stream has ended. */
  async take(): Promise<readonly StreamItem[] | 'gap' | undefined> {
    while (!this.#ended && !this.#hasGap && this.#buffer.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#ended) return undefined;
    if (this.#hasGap) {
      this.#hasGap = false;
      return 'gap';
    }
    return this.drain();
  }

  /** What has come in so far. */
  drain(): readonly StreamItem[] {
    const taken = this.#buffer;
    this.#buffer = [];
    return taken;
  }

  /** Stops watching, and ends a `take` that waits. */
  readonly end = (): void => {
    this.#ended = true;
    this.#signal.removeEventListener('abort', this.end);
    this.#release();
    this.#wake?.();
  };

  #push(item: StreamItem): void {
    if (this.#buffer.length >= MAX_BUFFERED) this.#onGap();
    else {
      this.#buffer.push(item);
      this.#wake?.();
    }
  }

  /** What has not been taken is in Postgres as well. */
  readonly #onGap = (): void => {
    this.#buffer = [];
    this.#hasGap = true;
    this.#wake?.();
  };
}
