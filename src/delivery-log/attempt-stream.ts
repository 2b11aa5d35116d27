import type { HeardAttempt } from './feed.ts';
import type { LiveLog } from './live-log.ts';
import type { Attempt } from '../generated/prisma/client.ts';

/** An attempt, or the id up to which there are no more of them. */
export type StreamItem =
  | { readonly kind: 'attempt'; readonly attempt: HeardAttempt }
  | { readonly kind: 'settled'; readonly id: string };

const MAX_BUFFERED = 1_000;

/**
 * The attempts committed since it was made, in a buffer that never holds more than 1,000: what a slow reader has no
 * room for is a gap, to be read from Postgres. Only what was committed late may not be found there, and is kept.
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
    const taken = this.#buffer;
    this.#buffer = [];
    return taken;
  }

  /** Forgets what is about to be read from Postgres, where it has been committed: all but late ones up to this id. */
  forgetBeyond(id: string): void {
    this.#buffer = this.#buffer.filter((item) => isLate(item) && item.attempt.id <= id);
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
    if (this.#buffer.length < MAX_BUFFERED) this.#buffer.push(item);
    this.#wake?.();
  }

  /** What has not been taken is in Postgres as well. */
  readonly #onGap = (): void => {
    this.#buffer = this.#buffer.filter(isLate);
    this.#hasGap = true;
    this.#wake?.();
  };
}

function isLate(item: StreamItem): item is StreamItem & { readonly kind: 'attempt' } {
  return item.kind === 'attempt' && item.attempt.isLate === true;
}
