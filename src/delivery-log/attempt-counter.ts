import type { Logger } from 'pino';
import { Loop } from '../lib/loop.ts';
import type { Database } from '../postgres/client.ts';
import { countAttempts } from './count-attempts.ts';
import { isTransient } from '../postgres/errors.ts';
import { transaction } from '../postgres/transaction.ts';

/** So often that few are left for queries to count, so rarely that many are alike. */
const INTERVAL_MS = 10_000;
const BATCH = 10_000;

export type AttemptCounterOptions = { readonly database: Pick<Database, 'pool'>; readonly log: Logger };

/** Counts what was logged, for the statistics, now and then every ten seconds; one process at a time does. */
export class AttemptCounter extends Loop {
  readonly #options: AttemptCounterOptions;

  constructor(options: AttemptCounterOptions) {
    super();
    this.#options = options;
  }

  protected async round(): Promise<number> {
    const { database, log } = this.#options;
    try {
      const counted = await transaction(database.pool, (client) => countAttempts(client, BATCH));
      return counted === BATCH ? 0 : INTERVAL_MS;
    } catch (error) {
      // That Postgres is away is logged by those who cannot do without it.
      log[isTransient(error) ? 'debug' : 'error']({ err: error }, 'counting attempts failed; trying again');
      return INTERVAL_MS;
    }
  }
}
