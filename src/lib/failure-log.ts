import type { Logger } from 'pino';

/** Milliseconds between two lines of the same error. */
const REPEAT_FAILURE_MS = 60_000;

type FailureLogOptions = {
  /** The subject of the log lines: "<work> failed; retrying", "<work> works again". */
  readonly work: string;
  /** The level at which a failure is logged: `debug` if another part logs the cause. */
  readonly levelOf: (error: unknown) => 'debug' | 'error';
  /** Fields of every line. */
  readonly facts?: object;
  /** In milliseconds; by default performance.now(). */
  readonly now?: () => number;
};

/**
 * Logs failures of work that is repeated every second or so: an error at once, the same error at most once a minute, and
 * the first success after it. Lines of the level `debug` are not limited.
 */
export class FailureLog {
  readonly #log: Logger;
  readonly #options: FailureLogOptions;
  /** The error that was logged since the last success. */
  #logged: { readonly text: string; readonly atMs: number } | undefined;

  constructor(log: Logger, options: FailureLogOptions) {
    this.#log = log;
    this.#options = options;
  }

  failed(error: unknown): void {
    const { work, levelOf, now = () => performance.now() } = this.#options;
    const level = levelOf(error);
    if (level === 'error') {
      const text = textOf(error);
      if (this.#logged?.text === text && now() - this.#logged.atMs < REPEAT_FAILURE_MS) return;
      this.#logged = { text, atMs: now() };
    }
    this.#log[level]({ err: error, ...this.#options.facts }, `${work} failed; retrying`);
  }

  succeeded(): void {
    if (this.#logged === undefined) return;
    this.#logged = undefined;
    this.#log.info({ ...this.#options.facts }, `${this.#options.work} works again`);
  }
}

/** The code of an error of Postgres or of a system call, whose message can contain varying values; otherwise the message. */
function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}
