import type { Prisma, Replay } from '../generated/prisma/client.ts';
import type { ReplayKind, ReplayStatus } from '../generated/prisma/enums.ts';
import { DomainError, type InputProblem, InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { isUuid, LEAST_UUID, uuid7 } from '../lib/uuid7.ts';
import { type Database, mutateWithPrisma, type Queryable, queryableOf } from '../postgres/client.ts';
import { readClock } from '../postgres/connection.ts';
import { isTimeout } from '../postgres/errors.ts';

type NewReplay = {
  readonly tenant: string;
  readonly kind: ReplayKind;
  /** The DeliveryFilter in its stored form, and the condition that it means. */
  readonly filter: Prisma.InputJsonObject;
  readonly where: Prisma.DeliveryWhereInput;
  readonly ratePerSecond: number;
  readonly dryRun: boolean;
};

const MAX_RATE = 1_000;
/** Maximum running replays per tenant. */
const MAX_RUNNING = 5;
/** Milliseconds. Less than the general statement timeout, so that the error refers to the filter. */
const COUNT_TIMEOUT_MS = 10_000;

export function problemsOfRate(ratePerSecond: number): InputProblem[] {
  const isInRange = ratePerSecond >= 1 && ratePerSecond <= MAX_RATE;
  return isInRange ? [] : [{ path: 'ratePerSecond', message: `must be from 1 to ${MAX_RATE}` }];
}

/** A dry run has the values that the replay would have. It has an id, but is not stored. */
export type StartedReplay = Omit<Replay, 'status' | 'filter'> & {
  readonly status: ReplayStatus | 'DRY_RUN';
  readonly filter: unknown;
};

/**
 * Counts the deliveries that match the filter, and stores a replay of them, which ReplayJob processes. A dry run only
 * counts: nothing is stored or audited. Throws ReplayTooLargeError or TooManyReplaysError.
 */
export async function startReplay(database: Database, replay: NewReplay): Promise<StartedReplay> {
  const { tenant, kind, filter, ratePerSecond, dryRun } = replay;
  if (dryRun) database.recorder?.omit();
  return mutateWithPrisma(dryRun ? { prisma: database.prisma } : database, async (transaction) => {
    // Counting is expensive: one count at a time per tenant, and none for a replay that is refused for another reason.
    const isLocked = await lockReplayStart(queryableOf(transaction), tenant);
    const running = dryRun ? 0 : await transaction.replay.count({ where: { tenant, status: 'RUNNING' } });
    if (!isLocked || running >= MAX_RUNNING) throw new TooManyReplaysError(MAX_RUNNING);
    // By Postgres's clock, like the creation times of deliveries.
    const createdAt = new Date(await readClock(database.pool));
    const where = { AND: [replay.where, { tenant, isTest: false, createdAt: { lte: createdAt } }] };
    const counts = await count(transaction, { tenant, kind, where, dryRun });
    const id = uuid7(createdAt.getTime());
    const started = { id, tenant, kind, filter, ratePerSecond, ...counts, createdAt, nextBatchAt: createdAt };
    if (dryRun) return { ...UNPROCESSED, ...started, status: 'DRY_RUN', completedAt: createdAt };
    return transaction.replay.create({ data: { ...started, status: 'RUNNING' } });
  });
}

/** The columns of a replay that has processed nothing. */
const UNPROCESSED = {
  replayedCount: 0,
  skippedCount: 0,
  skippedWithoutEventCount: 0,
  skippedInactiveCount: 0,
  afterId: LEAST_UUID,
  failureCount: 0,
};

type ReplayKey = {
  readonly id: string;
  readonly tenant: string | undefined;
  /** The kinds that the key can refer to. Default: replays only. */
  readonly kinds?: readonly ReplayKind[];
};

/** Stops a replay; deliveries that it has created are still sent. Throws NotFoundError or ReplayNotRunningError. */
export async function cancelReplay(
  database: Pick<Database, 'prisma' | 'clock' | 'recorder'>,
  key: ReplayKey,
): Promise<Replay> {
  const where = whereIs(key);
  return mutateWithPrisma(database, async (transaction) => {
    // Waits for the lock of a batch in progress, so that the batch's deliveries are counted.
    await transaction.replay.updateMany({
      where: { ...where, status: 'RUNNING' },
      data: { status: 'CANCELLED', completedAt: new Date(database.clock.now()) },
    });
    const replay = await transaction.replay.findFirst({ where });
    if (replay === null) throw new NotFoundError('replay');
    if (replay.status !== 'CANCELLED') throw new ReplayNotRunningError(replay.status);
    return replay;
  });
}

/**
 * Changes the rate of a running replay from its next batch on; a batch takes at most about a second. Throws
 * InvalidInputError, NotFoundError or ReplayNotRunningError.
 */
export async function changeReplayRate(
  database: Pick<Database, 'prisma' | 'recorder'>,
  { ratePerSecond, ...key }: ReplayKey & { readonly ratePerSecond: number },
): Promise<Replay> {
  const problems = problemsOfRate(ratePerSecond);
  if (problems.length > 0) throw new InvalidInputError(problems);
  const where = whereIs(key);
  return mutateWithPrisma(database, async (transaction) => {
    const { count: changed } = await transaction.replay.updateMany({
      where: { ...where, status: 'RUNNING' },
      data: { ratePerSecond },
    });
    const replay = await transaction.replay.findFirst({ where });
    if (replay === null) throw new NotFoundError('replay');
    if (changed === 0) throw new ReplayNotRunningError(replay.status);
    return replay;
  });
}

function whereIs({ id, tenant, kinds = ['REPLAY'] }: ReplayKey) {
  if (!isUuid(id)) throw new NotFoundError('replay');
  return { id, kind: { in: [...kinds] }, ...(tenant !== undefined && { tenant }) };
}

type Counts = Pick<Replay, 'deliveryCount'> &
  Partial<Pick<Replay, 'skippedCount' | 'skippedWithoutEventCount' | 'skippedInactiveCount'>>;

/** Skipped deliveries are counted here only for a dry run; ReplayJob counts those of a replay. */
async function count(
  transaction: Prisma.TransactionClient,
  { tenant, kind, where, dryRun }: Pick<NewReplay, 'tenant' | 'kind' | 'where' | 'dryRun'>,
): Promise<Counts> {
  try {
    await transaction.$executeRawUnsafe(`SET LOCAL statement_timeout = ${COUNT_TIMEOUT_MS}`);
    const deliveryCount = await transaction.delivery.count({ where });
    // Every pending delivery can be cancelled.
    if (!dryRun || kind === 'CANCEL') return { deliveryCount };
    const { event, subscription } = replayable(tenant);
    const withEvent = await transaction.delivery.count({ where: { AND: [where, { event }] } });
    const replayedCount = await transaction.delivery.count({ where: { AND: [where, { event, subscription }] } });
    const [withoutEvent, inactive] = [deliveryCount - withEvent, withEvent - replayedCount];
    const ofReplay = kind === 'REPLAY' && { skippedWithoutEventCount: withoutEvent, skippedInactiveCount: inactive };
    return { deliveryCount, skippedCount: withoutEvent + inactive, ...ofReplay };
  } catch (error) {
    if (isTimeout(error)) throw new ReplayTooLargeError();
    throw error;
  }
}

/**
 * The event must exist and have its data. The condition is on the event's tenant, because `isNot: null` would test only
 * the delivery's event_id.
 */
function replayable(tenant: string) {
  return { subscription: { isActive: true, deletedAt: null }, event: { tenant, redactedAt: null } };
}

/** Bounds the load of replays on the tenant's endpoints, and the load of counting on Postgres. */
export class TooManyReplaysError extends DomainError {
  readonly code = 'TOO_MANY_REPLAYS';

  constructor(limit: number) {
    super(
      `at most ${limit} replays of a tenant can run at a time, and one can start; wait until one has ended, or cancel it`,
    );
  }
}

/** A replay whose deliveries cannot be counted in time could not be processed either. */
export class ReplayTooLargeError extends DomainError {
  readonly code = 'REPLAY_TOO_LARGE';

  constructor() {
    super(
      'the deliveries that match the filter could not be counted in time; narrow the filter, for example with from and to',
    );
  }
}

export class ReplayNotRunningError extends DomainError {
  readonly code = 'REPLAY_NOT_RUNNING';

  constructor(status: ReplayStatus) {
    super(`the replay or job has already ended with ${status}`);
  }
}

/** Arbitrary first key of the advisory lock. Never change it. Locks with two keys do not collide with those with one. */
const START_LOCK = 57_031;

/** Takes the tenant's lock for starting a replay until the transaction ends; false if another transaction has it. */
async function lockReplayStart(db: Queryable, tenant: string): Promise<boolean> {
  const { rows } = await db.query<{ isLocked: boolean }>(
    'SELECT pg_try_advisory_xact_lock($1::integer, hashtext($2::text)) AS "isLocked"',
    [START_LOCK, tenant],
  );
  return rows[0]?.isLocked === true;
}
