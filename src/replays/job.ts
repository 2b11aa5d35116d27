import type { Logger } from 'pino';
import { scheduleSweep } from '../delivery/queue/state.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import type { ReplayKind } from '../generated/prisma/enums.ts';
import { IdlePause, Loop } from '../lib/loop.ts';
import { idRange, uuid7, uuid7Floor, uuid7Time } from '../lib/uuid7.ts';
import { recordChanges } from '../postgres/changes.ts';
import { type Database, inPrismaTransaction, type Queryable } from '../postgres/client.ts';
import { failureLevel } from '../postgres/errors.ts';
import { cancelDeliveries, retryDeliveries } from './portion.ts';

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
  const db = inPrismaTransaction(transaction);
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

type SkippedBy = {
  /** Number of deliveries whose event is no longer kept, or was redacted. */
  readonly withoutEvent: number;
  /** Number of deliveries whose event exists, and whose webhook subscription is inactive or deleted. */
  readonly inactive: number;
};

/** Counts by reason the deliveries for which a replay creates no new ones. Duplicates are not counted. */
async function countSkipped(db: Queryable, deliveries: readonly ReplayedDelivery[]): Promise<SkippedBy> {
  const eventRowIds = deliveries.map(({ eventRowId }) => eventRowId);
  const subscriptionIds = deliveries.map(({ subscriptionId }) => subscriptionId);
  const { rows } = await db.query<SkippedBy>(SKIPPED, [eventRowIds, subscriptionIds, ...idRange(eventRowIds)]);
  return rows[0] ?? { withoutEvent: 0, inactive: 0 };
}

const SKIPPED = `
  SELECT count(*) FILTER (WHERE event.id IS NULL)::integer AS "withoutEvent",
    count(*) FILTER (WHERE event.id IS NOT NULL AND s.id IS NULL)::integer AS inactive
  FROM unnest($1::uuid[], $2::uuid[]) AS past (event_id, subscription_id)
  LEFT JOIN LATERAL (
    SELECT id FROM events e
    WHERE e.id = past.event_id AND e.id BETWEEN $3::uuid AND $4::uuid AND e.redacted_at IS NULL OFFSET 0
  ) AS event ON true
  LEFT JOIN webhook_subscriptions s ON s.id = past.subscription_id AND s.is_active AND s.deleted_at IS NULL`;

type ReplayedDelivery = {
  /** The id of the new delivery, not older than the replay's id. */
  readonly id: string;
  /** The id of the delivery that the filter found. */
  readonly pastId: string;
  readonly subscriptionId: string;
  /** events.id */
  readonly eventRowId: string;
};

export type ReplayPortion = {
  readonly replayId: string;
  readonly deliveries: readonly ReplayedDelivery[];
  /** Maximum number of deliveries to create. */
  readonly limit: number;
};

/**
 * `changed`: number of new, retried or cancelled deliveries. `processed`: number of deliveries from the start of the
 * portion that were replayed, retried, cancelled or skipped.
 */
export type Replayed = { readonly changed: number; readonly processed: number };

/**
 * Creates new deliveries of events that still exist, for active subscriptions and for which the replay has created none
 * yet. They are queued like all others of their subscription, so nothing has to be published after the commit. The
 * events are locked so that they are neither deleted nor redacted before the pending deliveries are visible. The caller
 * has locked the replay (claimReplay).
 */
export async function insertReplayed(db: Queryable, { replayId, deliveries, limit }: ReplayPortion): Promise<Replayed> {
  const eventRowIds = deliveries.map(({ eventRowId }) => eventRowId);
  const { rows } = await db.query<{ created: number; last: number }>(INSERT_REPLAYED, [
    deliveries.map(({ id }) => id),
    deliveries.map(({ subscriptionId }) => subscriptionId),
    eventRowIds,
    replayId,
    ...idRange(eventRowIds),
    uuid7Floor(uuid7Time(replayId)),
    limit,
  ]);
  const { created = 0, last = 0 } = rows[0] ?? {};
  return { changed: created, processed: created < limit ? deliveries.length : last };
}

// The bound $7 on ids lets Postgres prune partitions. The sub-select that finds a delivery which the replay has already
// created runs row by row: as a NOT EXISTS, which is a join, Postgres may read all of them for each batch.
const INSERT_REPLAYED = `
  WITH event AS (
    SELECT id, tenant, type FROM events
    WHERE id = ANY ($3::uuid[]) AND id BETWEEN $5::uuid AND $6::uuid AND redacted_at IS NULL FOR SHARE
  ), candidate AS (
    SELECT DISTINCT ON (event_id, subscription_id) id, subscription_id, event_id, position
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS input (id, subscription_id, event_id, position)
    ORDER BY event_id, subscription_id, position
  ), new_delivery AS (
    SELECT c.id, event.tenant, c.subscription_id, c.event_id, event.type, c.position
    FROM candidate c
    JOIN event ON event.id = c.event_id
    JOIN webhook_subscriptions s ON s.id = c.subscription_id AND s.is_active AND s.deleted_at IS NULL
    WHERE (
      SELECT d.id FROM deliveries d
      WHERE d.replay_id = $4::uuid AND d.event_id = c.event_id AND d.subscription_id = c.subscription_id
        AND d.id >= $7::uuid LIMIT 1
    ) IS NULL
    ORDER BY c.position LIMIT $8::integer
  ), inserted AS (
    INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at, replay_id)
    SELECT id, tenant, subscription_id, event_id, type, now(), $4::uuid FROM new_delivery
    RETURNING id, subscription_id, next_attempt_at
  ), ${recordChanges({ deliveries: 'inserted' })}${scheduleSweep('inserted')}
  RETURNING (SELECT count(*) FROM inserted)::integer AS created,
    (SELECT max(position) FROM new_delivery)::integer AS last`;

/** Delays the next batch of a replay after a failure. */
export async function postponeReplay(db: Queryable, id: string): Promise<void> {
  await db.query(
    `UPDATE replays SET failure_count = failure_count + 1,
       next_batch_at = now() + least($2::integer * 2 ^ least(failure_count, 16), $3::integer) * interval '1 ms'
     WHERE id = $1::uuid`,
    [id, FIRST_WAIT_MS, MAX_WAIT_MS],
  );
}
