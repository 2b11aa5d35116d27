import type { Logger } from 'pino';
import { Loop } from '../lib/loop.ts';
import type { Queryable } from '../postgres/client.ts';
import { readClock, withConnection } from '../postgres/connection.ts';
import { failureLevel, isTimeout } from '../postgres/errors.ts';
import { type Deadline, deleteExpiredRows, deleteOldAuditEntries } from './expired-rows.ts';
import type { Retention } from './partition-plan.ts';
import { createPartitions, dropPartitions } from './partitions.ts';
import { LOWEST_ID, trimSubscriptions } from './trim.ts';

export type RetentionJobOptions = {
  readonly databaseUrl: string;
  readonly log: Logger;
  readonly retentionDays: number;
  /** Maximum number of ended deliveries that are kept per subscription; undefined: all are kept. */
  readonly maxPerSubscription: number | undefined;
  readonly auditLogDays: number;
  /** Milliseconds from the start to the first round. Default: 10,000. */
  readonly firstInMs?: number | undefined;
};

/** Arbitrary advisory-lock key. Never change it. */
const RETENTION_LOCK = 7_221_952;
const INTERVAL_MS = 3_600_000;
/** The start has other work, and has created the partitions itself. */
const FIRST_IN_MS = 10_000;
/** Delay after a round that failed or did not finish. */
const RETRY_MS = 20_000;
/** Time limit for deletions in one round. */
const ROUND_MS = 600_000;

/**
 * Creates partitions ahead of time and deletes everything that is older than the retention, soon after the start and then
 * every hour. A session-level advisory lock allows one process at a time.
 */
export class RetentionJob extends Loop {
  readonly #options: RetentionJobOptions;
  #trimmedToId = LOWEST_ID;

  constructor(options: RetentionJobOptions) {
    const { log, firstInMs = FIRST_IN_MS } = options;
    super({ log, work: 'retention', retryMs: RETRY_MS, firstInMs, levelOf: failureLevel });
    this.#options = options;
  }

  protected async round(signal: AbortSignal): Promise<number> {
    return await withConnection(this.#options.databaseUrl, (client) => this.#retain(client, signal));
  }

  /** Returns the milliseconds until the next round. */
  async #retain(client: Queryable, signal: AbortSignal): Promise<number> {
    const { rows } = await client.query<{ isLocked: boolean }>('SELECT pg_try_advisory_lock($1) AS "isLocked"', [
      RETENTION_LOCK,
    ]);
    if (rows[0]?.isLocked !== true) return INTERVAL_MS;
    const retention = { nowMs: await readClock(client), retentionDays: this.#options.retentionDays };
    const created = await this.#create(client, retention);
    const { dropped, kept, isBusy: wasBusy } = await dropPartitions(client, { ...retention, signal });
    const isBusy = wasBusy || created === undefined;
    const deadline: Deadline = { signal, deadlineMs: performance.now() + ROUND_MS };
    const deletedRows = await deleteExpiredRows(client, { ...retention, deadline });
    const audit = { nowMs: retention.nowMs, days: this.#options.auditLogDays, deadline };
    const auditEntries = await deleteOldAuditEntries(client, audit);
    const trimmed = await this.#trim(client, deadline);
    const hasDeleted = [dropped.length, deletedRows.count, auditEntries.count, trimmed.count].some(
      (count) => count > 0,
    );
    if (hasDeleted || isBusy || created.length > 0) {
      const counts = {
        deletedRows: deletedRows.count,
        deletedAuditEntries: auditEntries.count,
        trimmedDeliveries: trimmed.count,
      };
      this.#options.log.info({ created, dropped, kept, isBusy, ...counts }, 'retention');
    }
    return !isBusy && deletedRows.isDone && auditEntries.isDone && trimmed.isDone ? INTERVAL_MS : RETRY_MS;
  }

  /** Returns the names of the created partitions; undefined if the tables were in use for too long. */
  async #create(client: Queryable, retention: Retention): Promise<readonly string[] | undefined> {
    try {
      const { created, hasRoom } = await createPartitions(client, retention);
      if (!hasRoom) this.#options.log.error('partitions not created: a default partition has too many rows');
      return created;
    } catch (error) {
      if (isTimeout(error)) return undefined;
      throw error;
    }
  }

  async #trim(client: Queryable, deadline: Deadline) {
    const { maxPerSubscription: keep } = this.#options;
    if (keep === undefined) return { count: 0, isDone: true };
    const { count, nextAfterId } = await trimSubscriptions(client, { keep, afterId: this.#trimmedToId, deadline });
    this.#trimmedToId = nextAfterId ?? LOWEST_ID;
    return { count, isDone: nextAfterId === undefined };
  }
}
