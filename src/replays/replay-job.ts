import type { Logger } from 'pino';
import type { Database } from '../postgres/client.ts';
import { postponeReplay } from './postpone-replay.ts';
import { Loop } from '../lib/loop.ts';
import { type ReplayBatchOptions, replayBatch } from './replay-batch.ts';

export type ReplayJobOptions = Pick<ReplayBatchOptions, 'whereOf'> & {
  readonly database: Database;
  readonly log: Logger;
};

const IDLE_MS = 250;
const FAILED_MS = 1_000;
/** For a connection, and for the few statements of a batch, each of which has its own limit. */
const TRANSACTION = { maxWait: 5_000, timeout: 25_000 } as const;

/** Works on the running replays, batch by batch, each at its own rate. Any number of processes may do this at once. */
export class ReplayJob extends Loop {
  readonly #options: ReplayJobOptions;

  constructor(options: ReplayJobOptions) {
    super();
    this.#options = options;
  }

  protected async round(): Promise<number> {
    const { database, log, whereOf } = this.#options;
    let replayId: string | undefined;
    const onClaim = (id: string) => {
      replayId = id;
    };
    try {
      const worked = await database.prisma.$transaction((db) => replayBatch(db, { whereOf, onClaim }), TRANSACTION);
      return worked ? 0 : IDLE_MS;
    } catch (error) {
      // Without one, Postgres is away, which is logged by those who cannot do without it.
      log[replayId === undefined ? 'debug' : 'warn'](
        { err: error, replayId },
        'a replay could not go on; trying again',
      );
      if (replayId !== undefined) await this.#postpone(replayId);
      return FAILED_MS;
    }
  }

  async #postpone(id: string): Promise<void> {
    try {
      await postponeReplay(this.#options.database.pool, id);
    } catch (error) {
      this.#options.log.debug({ err: error, replayId: id }, 'a replay could not be put off');
    }
  }
}
