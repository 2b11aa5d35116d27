import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { FailureLog } from './failure-log.ts';

type LoopOptions = {
  readonly log: Logger;
  /** The subject of the log lines of a failed round, see FailureLog. */
  readonly work: string;
  /** Pause after a failed round, in milliseconds. */
  readonly retryMs: number;
  /** The level at which a failed round is logged: `debug` if another part logs the cause. */
  readonly levelOf: (error: unknown) => 'debug' | 'error';
};

/** Runs rounds of work one after the other, from start() until stop(). A failed round is logged (FailureLog) and repeated. */
export abstract class Loop {
  readonly #retryMs: number;
  readonly #failures: FailureLog;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor({ log, retryMs, ...options }: LoopOptions) {
    this.#retryMs = retryMs;
    this.#failures = new FailureLog(log, options);
  }

  start(): void {
    this.#running ??= this.#run(this.#stopping.signal);
  }

  /**
   * Waits for the running round, which uses connections that are closed afterwards. Each statement of a round has its
   * own time limit.
   */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Resolves with the pause before the next round, in milliseconds. */
  protected abstract round(signal: AbortSignal): Promise<number>;

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const waitMs = await this.#try(signal);
      if (waitMs > 0) await pause(waitMs, signal);
    }
  }

  async #try(signal: AbortSignal): Promise<number> {
    try {
      const waitMs = await this.round(signal);
      this.#failures.succeeded();
      return waitMs;
    } catch (error) {
      this.#failures.failed(error);
      return this.#retryMs;
    }
  }
}

/**
 * Milliseconds between two checks for work, by the milliseconds since the last work. A check costs one statement, and
 * an installation may be idle for days.
 */
const PAUSES = [
  { from: 60_000, ms: 2_000 },
  { from: 10_000, ms: 1_000 },
  { from: 0, ms: 250 },
] as const;

/** The pause of a loop that checks Postgres for work. */
export class IdlePause {
  readonly #now: () => number;
  #workedAt: number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#workedAt = now();
  }

  get ms(): number {
    const quietMs = this.#now() - this.#workedAt;
    return PAUSES.find(({ from }) => quietMs >= from)?.ms ?? PAUSES[2].ms;
  }

  worked(): void {
    this.#workedAt = this.#now();
  }
}

/** Waits for `ms` milliseconds, or until the signal aborts. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}

/** Waits for work whose result is not needed, for at most `ms` milliseconds. */
export async function waitAtMost(ms: number, work: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  await Promise.race([work, pause(ms, timer.signal)]);
  timer.abort();
}

/** Settles with the result of the work, or rejects with the signal's reason when the signal aborts. */
export function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const forget = whenAborted(signal, () => {
      // `as`: without a given reason, the reason is an error, and the engine gives only errors.
      reject(signal.reason as Error);
    });
    work.then(resolve, reject).finally(forget);
  });
}

/** Calls `action` when the signal aborts, at once if it has aborted. The returned function cancels this. */
export function whenAborted(signal: AbortSignal, action: () => void): () => void {
  if (signal.aborted) action();
  else signal.addEventListener('abort', action, { once: true });
  return () => {
    signal.removeEventListener('abort', action);
  };
}

/**
 * A signal that aborts with the given one, or after `ms` milliseconds unless `clear` is called before. AbortSignal.timeout
 * within AbortSignal.any never aborts if the garbage collector runs in between (nodejs/node#57867).
 */
export function limitSignal(
  signal: AbortSignal,
  ms: number,
): { readonly signal: AbortSignal; readonly clear: () => void } {
  const controller = new AbortController();
  const forget = whenAborted(signal, () => {
    controller.abort(signal.reason);
  });
  const timer = setTimeout(() => {
    controller.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError'));
  }, ms);
  return {
    signal: controller.signal,
    clear: () => {
      clearTimeout(timer);
      forget();
    },
  };
}

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
