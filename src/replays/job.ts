import type { Logger } from 'pino';
import type { Prisma } from '../generated/prisma/client.ts';
import type { ReplayKind } from '../generated/prisma/enums.ts';
import { IdlePause, Loop } from '../lib/loop.ts';
import { uuid7 } from '../lib/uuid7.ts';
import { type Database, type Queryable, queryableOf } from '../postgres/client.ts';
import { failureLevel } from '../postgres/errors.ts';
import { cancelDeliveries, countSkipped, insertReplayed, retryDeliveries, type SkippedBy } from './portion.ts';

type ReplayJobOptions = Pick<ReplayBatchOptions, 'whereOf'> & {
  readonly database: Database;
  readonly log: Logger;
};

const FAILED_MS = 1_000;
/**
 * Prisma's time limits in milliseconds for getting a connection and for the whole batch. Each statement has its own
 * limit, too.
 */
const TRANSACTION = { maxWait: 5_000, timeout: 25_000 } as const;
/** Batches per second of a replay: each creates at most this fraction of its rate. */
const BATCHES_PER_SECOND = 5;
/** Minimum deliveries that a batch reads, because all of them may have to be skipped. */
const MIN_SCAN = 200;
/** Milliseconds per statement: a slow replay delays the others. */
const STATEMENT_TIMEOUT_MS = 5_000;
/** Maximum milliseconds without a batch that a replay makes up for; more would cause a burst. */
const CATCH_UP_MS = 250;
/** Milliseconds that a skipped delivery costs: as much as one created at the maximum rate. */
const SKIPPED_MS = 1;
/**
 * Milliseconds before the next batch after a failure, doubled with each failure in a row: a failing replay delays the
 * others.
 */
const FIRST_WAIT_MS = 10_000;
const MAX_WAIT_MS = 300_000;

/**
 * Processes running replays, retries and cancellations in batches, each at its own rate. Any number of processes can
 * run this job concurrently.
 */
export class ReplayJob extends Loop {
  readonly #options: ReplayJobOptions;
  readonly #idlePause = new IdlePause();

  constructor(options: ReplayJobOptions) {
    super({ log: options.log, work: 'replay batch', retryMs: FAILED_MS, levelOf: failureLevel });
    this.#options = options;
  }

  protected async round(): Promise<number> {
    const { database, log, whereOf } = this.#options;
    let replayId: string | undefined;
    const onClaim = (id: string) => {
      replayId = id;
    };
    if (!(await hasDueReplay(database.pool))) return this.#idlePause.ms;
    this.#idlePause.worked();
    try {
      const worked = await database.prisma.$transaction((db) => replayBatch(db, { whereOf, onClaim }), TRANSACTION);
      return worked ? 0 : this.#idlePause.ms;
    } catch (error) {
      if (replayId === undefined) throw error;
      log.warn({ err: error, replayId }, 'replay batch failed; retrying');
      await this.#postpone(replayId);
      return FAILED_MS;
    }
  }

  async #postpone(id: string): Promise<void> {
    try {
      await postponeReplay(this.#options.database.pool, id);
    } catch (error) {
      this.#options.log[failureLevel(error)]({ err: error, replayId: id }, 'replay could not be postponed');
    }
  }
}

/** Without a due replay a round is only this statement, which costs a small part of a transaction. */
async function hasDueReplay(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ isDue: boolean }>(
    `SELECT EXISTS (SELECT FROM replays WHERE status = 'RUNNING' AND next_batch_at <= now()) AS "isDue"`,
    [],
  );
  return rows[0]?.isDue === true;
}

type ReplayBatchOptions = {
  /** Converts a stored DeliveryFilter to its condition at the time of the call. */
  readonly whereOf: (filter: unknown, db: Queryable) => Promise<Prisma.DeliveryWhereInput>;
  /** Called with the id of the replay that the batch belongs to. */
  readonly onClaim: (replayId: string) => void;
};

/**
 * Processes the next batch of a replay: reads deliveries that match its filter, creates the new ones and saves the
 * progress, in one transaction. Returns false if no replay is due.
 */
export async function replayBatch(
  transaction: Prisma.TransactionClient,
  { whereOf, onClaim }: ReplayBatchOptions,
): Promise<boolean> {
  await transaction.$executeRawUnsafe(`SET LOCAL statement_timeout = ${STATEMENT_TIMEOUT_MS}`);
  const db = queryableOf(transaction);
  const replay = await claimReplay(db);
  if (replay === undefined) return false;
  onClaim(replay.id);
  const limit = Math.ceil(replay.ratePerSecond / BATCHES_PER_SECOND);
  // After a failure, a smaller batch takes less time.
  const scan = replay.failureCount > 0 ? limit : Math.max(limit, MIN_SCAN);
  const found = await transaction.delivery.findMany({
    where: { AND: [await whereOf(replay.filter, db), remaining(replay)] },
    select: { id: true, eventId: true, subscriptionId: true },
    orderBy: { id: 'asc' },
    take: scan,
  });
  // Ids have the time of the batch, because retention and filters go by the id, and a replay may run for days.
  const deliveries = found.map(({ id, eventId, subscriptionId }) => ({
    id: uuid7(replay.batchAt.getTime()),
    pastId: id,
    eventRowId: eventId,
    subscriptionId,
  }));
  const process = { REPLAY: insertReplayed, RETRY: retryDeliveries, CANCEL: cancelDeliveries }[replay.kind];
  const { changed, processed } =
    found.length === 0 ? { changed: 0, processed: 0 } : await process(db, { replayId: replay.id, deliveries, limit });
  const hasSkipped = replay.kind === 'REPLAY' && processed > changed;
  await advanceReplay(db, {
    id: replay.id,
    afterId: found[processed - 1]?.id ?? replay.afterId,
    replayed: changed,
    skipped: processed - changed,
    ...(hasSkipped && { skippedBy: await countSkipped(db, deliveries.slice(0, processed)) }),
    isLast: found.length < scan && processed === found.length,
  });
  return true;
}

/**
 * Excludes deliveries that are younger than the replay, in particular its own, and test deliveries, which are attempted
 * only once.
 */
function remaining({ tenant, createdAt, afterId }: ClaimedReplay): Prisma.DeliveryWhereInput {
  return { tenant, isTest: false, createdAt: { lte: createdAt }, id: { gt: afterId } };
}

/** A running replay whose next batch is due. */
type ClaimedReplay = {
  readonly id: string;
  readonly tenant: string;
  readonly kind: ReplayKind;
  /** The stored DeliveryFilter. */
  readonly filter: unknown;
  readonly ratePerSecond: number;
  /** The id of the last processed delivery. */
  readonly afterId: string;
  readonly createdAt: Date;
  /** Failed batches since the last successful one. */
  readonly failureCount: number;
  /** Now, by Postgres's clock: the time of the new deliveries' ids. */
  readonly batchAt: Date;
};

/** Locks the running replay that has been due longest until the transaction ends. Skips locked replays. */
export async function claimReplay(db: Queryable): Promise<ClaimedReplay | undefined> {
  const { rows } = await db.query<ClaimedReplay>(
    `SELECT id, tenant, kind, filter, rate_per_second AS "ratePerSecond", after_id AS "afterId", created_at AS "createdAt",
       failure_count AS "failureCount", greatest(now(), created_at) AS "batchAt"
     FROM replays WHERE status = 'RUNNING' AND next_batch_at <= now()
     ORDER BY next_batch_at LIMIT 1 FOR UPDATE SKIP LOCKED`,
  );
  return rows[0];
}

type ReplayStep = {
  readonly id: string;
  /** The id of the last processed delivery. */
  readonly afterId: string;
  /** Numbers of new deliveries, and of processed deliveries for which none was created. */
  readonly replayed: number;
  readonly skipped: number;
  /** Only for the kind REPLAY. */
  readonly skippedBy?: SkippedBy;
  readonly isLast: boolean;
};

/**
 * Saves a replay's progress in the transaction that created the new deliveries, and delays the next batch by the time that
 * created and skipped deliveries cost.
 */
export async function advanceReplay(db: Queryable, step: ReplayStep): Promise<void> {
  const { id, afterId, replayed, skipped, isLast } = step;
  const { withoutEvent, inactive } = step.skippedBy ?? { withoutEvent: 0, inactive: 0 };
  const counts = [replayed, skipped, withoutEvent, inactive];
  await db.query(ADVANCE_REPLAY, [id, afterId, ...counts, isLast, CATCH_UP_MS, SKIPPED_MS]);
}

const ADVANCE_REPLAY = `
  UPDATE replays SET after_id = $2::uuid,
    replayed_count = replayed_count + $3::integer, skipped_count = skipped_count + $4::integer,
    skipped_without_event_count = skipped_without_event_count + $5::integer,
    skipped_inactive_count = skipped_inactive_count + $6::integer,
    next_batch_at = greatest(next_batch_at, now() - $8::integer * interval '1 ms')
      + $3::integer * interval '1 s' / rate_per_second + $4::integer * $9::integer * interval '1 ms',
    failure_count = 0,
    status = CASE WHEN $7::boolean THEN 'COMPLETED' ELSE status END,
    completed_at = CASE WHEN $7::boolean THEN now() END
  WHERE id = $1::uuid`;

/** Delays the next batch of a replay after a failure. */
export async function postponeReplay(db: Queryable, id: string): Promise<void> {
  await db.query(
    `UPDATE replays SET failure_count = failure_count + 1,
       next_batch_at = now() + least($2::integer * 2 ^ least(failure_count, 16), $3::integer) * interval '1 ms'
     WHERE id = $1::uuid`,
    [id, FIRST_WAIT_MS, MAX_WAIT_MS],
  );
}
