import type { Logger } from 'pino';
import { Loop } from '../lib/loop.ts';
import type { Queryable } from '../postgres/client.ts';
import { readClock, withConnection } from '../postgres/connection.ts';
import { isTimeout, isTransient } from '../postgres/errors.ts';
import { deleteExpiredRows } from './expired-rows.ts';
import type { Retention } from './partition-plan.ts';
import { createPartitions, dropPartitions } from './partitions.ts';
import { BEGINNING, trimSubscriptions } from './trim.ts';

export type RetentionJobOptions = {
  readonly databaseUrl: string;
  readonly log: Logger;
  readonly retentionDays: number;
  /** How many ended deliveries of a subscription are kept; undefined: all. */
  readonly maxPerSubscription: number | undefined;
};

/** Any number: it only has to be the same in every process of every version. */
const RETENTION_LOCK = 7_221_952;
const INTERVAL_MS = 3_600_000;
/** After a round that could not do all it had to. */
const RETRY_MS = 20_000;
const ROUND_MS = 600_000;

/**
 * Makes partitions ahead of time and drops what is older than the retention, now and then every hour. A session lock
 * sees to it that one process at a time does.
 */
export class RetentionJob extends Loop {
  readonly #options: RetentionJobOptions;
  #trimmedToId = BEGINNING;

  constructor(options: RetentionJobOptions) {
    super();
    this.#options = options;
  }

  protected async round(signal: AbortSignal): Promise<number> {
    const { databaseUrl, log } = this.#options;
    try {
      return await withConnection(databaseUrl, (client) => this.#retain(client, signal));
    } catch (error) {
      // That Postgres is away is logged by those who cannot do without it.
      log[isTransient(error) ? 'debug' : 'error']({ err: error }, 'the retention job failed; trying again');
      return RETRY_MS;
    }
  }

  /** Returns how long to wait before the next one. */
  async #retain(client: Queryable, signal: AbortSignal): Promise<number> {
    const { rows } = await client.query<{ isOurs: boolean }>('SELECT pg_try_advisory_lock($1) AS "isOurs"', [
      RETENTION_LOCK,
    ]);
    if (rows[0]?.isOurs !== true) return INTERVAL_MS;
    const retention = { nowMs: await readClock(client), retentionDays: this.#options.retentionDays };
    const created = await this.#create(client, retention);
    const { dropped, kept, isBusy: wasBusy } = await dropPartitions(client, { ...retention, signal });
    const isBusy = wasBusy || created === undefined;
    const pace = { signal, deadlineMs: performance.now() + ROUND_MS };
    const deletedRows = await deleteExpiredRows(client, { ...retention, pace });
    const trimmed = await this.#trim(client, pace);
    const hasDropped = dropped.length > 0 || deletedRows.count > 0 || trimmed.count > 0;
    if (hasDropped || isBusy || created.length > 0) {
      const counts = { deletedRows: deletedRows.count, trimmedDeliveries: trimmed.count };
      this.#options.log.info({ created, dropped, kept, isBusy, ...counts }, 'retention');
    }
    return !isBusy && deletedRows.isDone && trimmed.isDone ? INTERVAL_MS : RETRY_MS;
  }

  /** The names of what was made; undefined if the tables were in use. */
  async #create(client: Queryable, retention: Retention): Promise<readonly string[] | undefined> {
    try {
      const { created, hasRoom } = await createPartitions(client, retention);
      if (!hasRoom) this.#options.log.error('no partitions are made: a default partition has too many rows');
      return created;
    } catch (error) {
      if (isTimeout(error)) return undefined;
      throw error;
    }
  }

  async #trim(client: Queryable, pace: { readonly signal: AbortSignal; readonly deadlineMs: number }) {
    const { maxPerSubscription: keep } = this.#options;
    if (keep === undefined) return { count: 0, isDone: true };
    const { count, nextAfterId } = await trimSubscriptions(client, { keep, afterId: this.#trimmedToId, pace });
    this.#trimmedToId = nextAfterId ?? BEGINNING;
    return { count, isDone: nextAfterId === undefined };
  }
}
