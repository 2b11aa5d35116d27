import type { Logger } from 'pino';
import { scheduleSweep } from '../delivery/queue/state.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import { Loop } from '../lib/loop.ts';
import { idRange, uuid7, uuid7Floor, uuid7Time } from '../lib/uuid7.ts';
import { type Database, inPrismaTransaction, type Queryable } from '../postgres/client.ts';

type ReplayJobOptions = Pick<ReplayBatchOptions, 'whereOf'> & {
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

type ReplayBatchOptions = {
  /** The condition that a stored DeliveryFilter stands for. */
  readonly whereOf: (filter: unknown) => Prisma.DeliveryWhereInput;
  /** Told which replay is being worked on. */
  readonly onClaim: (replayId: string) => void;
};

/** A replay makes what its rate allows for so much of a second at a time. */
const BATCHES_PER_SECOND = 5;
/** But it looks at no fewer than these, which may all have to be skipped. */
const LEAST_SCAN = 200;
/** What takes longer keeps the other replays waiting. */
const STATEMENT_TIMEOUT_MS = 5_000;

/**
 * Takes the next deliveries of a replay whose turn it is, and makes the new ones, in a transaction: a crash leaves all of
 * that or nothing. Returns false if there is no such replay.
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
  // The fewer, the sooner they are found.
  const scan = replay.failureCount > 0 ? limit : Math.max(limit, LEAST_SCAN);
  const found = await transaction.delivery.findMany({
    where: { AND: [whereOf(replay.filter), remaining(replay)] },
    select: { id: true, eventId: true, subscriptionId: true },
    orderBy: { id: 'asc' },
    take: scan,
  });
  const { made, dealtWith } = await createDeliveries(db, { replay, found, limit });
  await advanceReplay(db, {
    id: replay.id,
    afterId: found[dealtWith - 1]?.id ?? replay.afterId,
    replayed: made,
    skipped: dealtWith - made,
    isLast: found.length < scan && dealtWith === found.length,
  });
  return true;
}

type Found = { readonly id: string; readonly eventId: string; readonly subscriptionId: string };

/** Ids of this batch's time: filters by time and retention go by them, and a replay may run for days. */
async function createDeliveries(
  db: ReturnType<typeof inPrismaTransaction>,
  {
    replay,
    found,
    limit,
  }: { readonly replay: ClaimedReplay; readonly found: readonly Found[]; readonly limit: number },
) {
  if (found.length === 0) return { made: 0, dealtWith: 0 };
  const deliveries = found.map(({ eventId, subscriptionId }) => ({
    ...{ id: uuid7(replay.batchAt.getTime()), eventRowId: eventId, subscriptionId },
  }));
  return insertReplayed(db, { replayId: replay.id, deliveries, limit });
}

/** Nothing that came after the replay: above all not what it has made itself. And no test: it was to be one request. */
function remaining({ tenant, createdAt, afterId }: ClaimedReplay): Prisma.DeliveryWhereInput {
  return { tenant, isTest: false, createdAt: { lte: createdAt }, id: { gt: afterId } };
}

/** A running replay that may make more deliveries now. */
type ClaimedReplay = {
  readonly id: string;
  readonly tenant: string;
  /** A DeliveryFilter as it was stored. */
  readonly filter: unknown;
  readonly ratePerSecond: number;
  /** The last delivery that was dealt with, by id. */
  readonly afterId: string;
  readonly createdAt: Date;
  /** How often it has failed since it last went on. */
  readonly failureCount: number;
  /** Now, by Postgres's clock: the time that the new deliveries get. */
  readonly batchAt: Date;
};

/** Holds the running replay that has waited longest for its turn until the transaction ends; nobody else gets it. */
export async function claimReplay(db: Queryable): Promise<ClaimedReplay | undefined> {
  const { rows } = await db.query<ClaimedReplay>(
    `SELECT id, tenant, filter, rate_per_second AS "ratePerSecond", after_id AS "afterId", created_at AS "createdAt",
       failure_count AS "failureCount", greatest(now(), created_at) AS "batchAt"
     FROM replays WHERE status = 'RUNNING' AND next_batch_at <= now()
     ORDER BY next_batch_at LIMIT 1 FOR UPDATE SKIP LOCKED`,
  );
  return rows[0];
}

type ReplayStep = {
  readonly id: string;
  /** The last delivery that was dealt with. */
  readonly afterId: string;
  /** How many new deliveries were made, and how many found that nothing was made of. */
  readonly replayed: number;
  readonly skipped: number;
  readonly isLast: boolean;
};

/** So much of the time in which nobody looked is made up for; more would be a burst. */
const CATCH_UP_MS = 250;

/** What a delivery costs that was looked at for nothing: as much as one that is made at the greatest rate. */
const SKIPPED_MS = 1;

/**
 * Moves a replay on, in the transaction that made its new deliveries, and puts off the next by the time that they, and
 * what was skipped, are worth.
 */
export async function advanceReplay(db: Queryable, step: ReplayStep): Promise<void> {
  const { id, afterId, replayed, skipped, isLast } = step;
  await db.query(ADVANCE_REPLAY, [id, afterId, replayed, skipped, isLast, CATCH_UP_MS, SKIPPED_MS]);
}

const ADVANCE_REPLAY = `
  UPDATE replays SET after_id = $2::uuid,
    replayed_count = replayed_count + $3::integer, skipped_count = skipped_count + $4::integer,
    next_batch_at = greatest(next_batch_at, now() - $6::integer * interval '1 ms')
      + $3::integer * interval '1 s' / rate_per_second + $4::integer * $7::integer * interval '1 ms',
    failure_count = 0,
    status = CASE WHEN $5::boolean THEN 'COMPLETED' ELSE status END,
    completed_at = CASE WHEN $5::boolean THEN now() END
  WHERE id = $1::uuid`;

type ReplayedDelivery = {
  /** Of the new delivery; not older than the replay's. */
  readonly id: string;
  readonly subscriptionId: string;
  /** The event's row. */
  readonly eventRowId: string;
};

type ReplayPortion = {
  readonly replayId: string;
  readonly deliveries: readonly ReplayedDelivery[];
  /** How many to make of them at most. */
  readonly limit: number;
};

/** How many deliveries were made, and of how many of those given that was: what comes after them was not looked at. */
type Replayed = { readonly made: number; readonly dealtWith: number };

/**
 * Makes new deliveries, from the first of those given on, of events that are kept, for subscriptions that are active, and
 * for which the replay has made none yet. They wait in Postgres for the sweeper, with whatever else waits for the same
 * subscription, so that nothing has to be published after the commit. The events are held, so that they do not go before
 * the deliveries that need them are seen to be pending. To be called with the replay held: nobody else makes any for it.
 */
export async function insertReplayed(db: Queryable, { replayId, deliveries, limit }: ReplayPortion): Promise<Replayed> {
  const eventRowIds = deliveries.map(({ eventRowId }) => eventRowId);
  const { rows } = await db.query<{ made: number; last: number }>(INSERT_REPLAYED, [
    deliveries.map(({ id }) => id),
    deliveries.map(({ subscriptionId }) => subscriptionId),
    eventRowIds,
    replayId,
    ...idRange(eventRowIds),
    uuid7Floor(uuid7Time(replayId)),
    limit,
  ]);
  const { made = 0, last = 0 } = rows[0] ?? {};
  return { made, dealtWith: made < limit ? deliveries.length : last };
}

// The bound on the ids of what the replay has made is for Postgres to leave out older partitions. It is looked for row by
// row: as a NOT EXISTS, which is a join, Postgres may read all that the replay has made for each batch.
const INSERT_REPLAYED = `
  WITH event AS (
    SELECT id, tenant, type FROM events
    WHERE id = ANY ($3::uuid[]) AND id BETWEEN $5::uuid AND $6::uuid FOR KEY SHARE
  ), given AS (
    SELECT DISTINCT ON (event_id, subscription_id) id, subscription_id, event_id, place
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS g (id, subscription_id, event_id, place)
    ORDER BY event_id, subscription_id, place
  ), chosen AS (
    SELECT n.id, event.tenant, n.subscription_id, n.event_id, event.type, n.place
    FROM given n
    JOIN event ON event.id = n.event_id
    JOIN webhook_subscriptions s ON s.id = n.subscription_id AND s.is_active AND s.deleted_at IS NULL
    WHERE (
      SELECT made.id FROM deliveries made
      WHERE made.replay_id = $4::uuid AND made.event_id = n.event_id AND made.subscription_id = n.subscription_id
        AND made.id >= $7::uuid LIMIT 1
    ) IS NULL
    ORDER BY n.place LIMIT $8::integer
  ), inserted AS (
    INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at, replay_id)
    SELECT id, tenant, subscription_id, event_id, type, now(), $4::uuid FROM chosen
    RETURNING subscription_id, next_attempt_at
  )${scheduleSweep('inserted')}
  RETURNING (SELECT count(*) FROM inserted)::integer AS made, (SELECT max(place) FROM chosen)::integer AS last`;

/** Doubled with each failure in a row: what takes long, and for nothing, must not hold up others. */
const FIRST_WAIT_MS = 10_000;
const MAX_WAIT_MS = 300_000;

/** A replay that could not be moved on is looked after again some time later. */
export async function postponeReplay(db: Queryable, id: string): Promise<void> {
  await db.query(
    `UPDATE replays SET failure_count = failure_count + 1,
       next_batch_at = now() + least($2::integer * 2 ^ least(failure_count, 16), $3::integer) * interval '1 ms'
     WHERE id = $1::uuid`,
    [id, FIRST_WAIT_MS, MAX_WAIT_MS],
  );
}
