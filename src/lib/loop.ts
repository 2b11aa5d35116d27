import type { Logger } from 'pino';
import { FailureLog } from './failure-log.ts';
import { pause } from './waiting.ts';

type LoopOptions = {
  readonly log: Logger;
  /** The subject of the log lines of a failed round, see FailureLog. */
  readonly work: string;
  /** Pause after a failed round, in milliseconds. */
  readonly retryMs: number;
  /** Pause before the first round, in milliseconds. Default: 0. */
  readonly firstInMs?: number | undefined;
  /** The level at which a failed round is logged: `debug` if another part logs the cause. */
  readonly levelOf: (error: unknown) => 'debug' | 'error';
};

/** Runs rounds of work one after the other, from start() until stop(). A failed round is logged (FailureLog) and repeated. */
export abstract class Loop {
  readonly #retryMs: number;
  readonly #firstInMs: number;
  readonly #failures: FailureLog;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor({ log, retryMs, firstInMs = 0, ...options }: LoopOptions) {
    this.#retryMs = retryMs;
    this.#firstInMs = firstInMs;
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
    if (this.#firstInMs > 0) await pause(this.#firstInMs, signal);
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

  /** The pause if work is known to be due in `dueInMs` milliseconds; 0 if it is due now. */
  before(dueInMs: number): number {
    return Math.max(0, Math.min(this.ms, Math.ceil(dueInMs)));
  }

  worked(): void {
    this.#workedAt = this.#now();
  }
}
