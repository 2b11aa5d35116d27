import type { Logger } from 'pino';
import { pause } from '../pause.ts';
import type { Database } from './client.ts';
import { countAttempts } from './count-attempts.ts';
import { transaction } from './transaction.ts';
import { isTransient } from './transient-error.ts';

/** So often that few are left for queries to count, so rarely that many are alike. */
const INTERVAL_MS = 10_000;
const BATCH = 10_000;

export type AttemptCounterOptions = { readonly database: Pick<Database, 'pool'>; readonly log: Logger };

/** Counts what was logged, for the statistics, now and then every ten seconds; one process at a time does. */
export class AttemptCounter {
  readonly #options: AttemptCounterOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: AttemptCounterOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { database, log } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      let counted: number | undefined;
      try {
        counted = await transaction(database.pool, (client) => countAttempts(client, BATCH));
      } catch (error) {
        // That Postgres is away is logged by those who cannot do without it.
        log[isTransient(error) ? 'debug' : 'error']({ err: error }, 'counting attempts failed; trying again');
      }
      if (counted !== BATCH) await pause(INTERVAL_MS, signal);
    }
  }
}
