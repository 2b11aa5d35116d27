import type { Prisma, Replay } from '../generated/prisma/client.ts';
import type { ReplayStatus } from '../generated/prisma/enums.ts';
import { DomainError, type InputProblem, NotFoundError } from '../lib/errors.ts';
import { isUuid, uuid7 } from '../lib/uuid7.ts';
import { type Database, inPrismaTransaction, type Queryable } from '../postgres/client.ts';
import { readClock } from '../postgres/connection.ts';
import { isTimeout } from '../postgres/errors.ts';

type NewReplay = {
  readonly tenant: string;
  /** A DeliveryFilter as it is stored, and the condition that it stands for. */
  readonly filter: Prisma.InputJsonObject;
  readonly where: Prisma.DeliveryWhereInput;
  readonly ratePerSecond: number;
  readonly dryRun: boolean;
};

const MAX_RATE = 1_000;
const MAX_RUNNING = 5;
/** Less than what a statement may take at most, so that the answer is about the filter. */
const COUNT_TIMEOUT_MS = 10_000;
const START_TRANSACTION = { maxWait: 5_000, timeout: 3 * COUNT_TIMEOUT_MS } as const;

export function problemsOfRate(ratePerSecond: number): InputProblem[] {
  const isInRange = ratePerSecond >= 1 && ratePerSecond <= MAX_RATE;
  return isInRange ? [] : [{ path: 'ratePerSecond', message: `must be from 1 to ${MAX_RATE}` }];
}

/**
 * Counts the deliveries that are meant and stores a replay of them, for the senders to work on unless it is a dry run.
 * Throws ReplayTooLargeError or TooManyReplaysError.
 */
export async function startReplay({ prisma, pool }: Database, replay: NewReplay): Promise<Replay> {
  const { tenant, filter, ratePerSecond, dryRun } = replay;
  return prisma.$transaction(async (transaction) => {
    // Counting is dear: one at a time, and none for what is refused anyway.
    const isAlone = await lockReplayStart(inPrismaTransaction(transaction), tenant);
    const running = dryRun ? 0 : await transaction.replay.count({ where: { tenant, status: 'RUNNING' } });
    if (!isAlone || running >= MAX_RUNNING) throw new TooManyReplaysError(MAX_RUNNING);
    // Postgres's clock, which deliveries have their time from.
    const createdAt = new Date(await readClock(pool));
    const where = { AND: [replay.where, { tenant, isTest: false, createdAt: { lte: createdAt } }] };
    const counts = await count(transaction, { tenant, where, dryRun });
    return transaction.replay.create({
      data: {
        ...{ id: uuid7(createdAt.getTime()), tenant, filter, ratePerSecond, ...counts, createdAt },
        ...{ nextBatchAt: createdAt, status: dryRun ? 'DRY_RUN' : 'RUNNING', completedAt: dryRun ? createdAt : null },
      },
    });
  }, START_TRANSACTION);
}

/** Makes no more deliveries; those that were made are sent. Throws NotFoundError or ReplayNotRunningError. */
export async function cancelReplay(
  { prisma, clock }: Pick<Database, 'prisma' | 'clock'>,
  { id, tenant }: { readonly id: string; readonly tenant: string | undefined },
): Promise<Replay> {
  if (!isUuid(id)) throw new NotFoundError('replay');
  const where = { id, ...(tenant !== undefined && { tenant }) };
  // Waits for the batch in hand, whose deliveries are counted.
  await prisma.replay.updateMany({
    where: { ...where, status: 'RUNNING' },
    data: { status: 'CANCELLED', completedAt: new Date(clock.now()) },
  });
  const replay = await prisma.replay.findFirst({ where });
  if (replay === null) throw new NotFoundError('replay');
  if (replay.status !== 'CANCELLED') throw new ReplayNotRunningError(replay.status);
  return replay;
}

type Counts = { readonly deliveryCount: number; readonly skippedCount: number };

/** What would be skipped is counted only for a dry run; a replay counts it as it goes. */
async function count(
  transaction: Prisma.TransactionClient,
  { tenant, where, dryRun }: Pick<NewReplay, 'tenant' | 'where' | 'dryRun'>,
): Promise<Counts> {
  try {
    await transaction.$executeRawUnsafe(`SET LOCAL statement_timeout = ${COUNT_TIMEOUT_MS}`);
    const deliveryCount = await transaction.delivery.count({ where });
    if (!dryRun) return { deliveryCount, skippedCount: 0 };
    const replayedCount = await transaction.delivery.count({ where: { AND: [where, replayable(tenant)] } });
    return { deliveryCount, skippedCount: deliveryCount - replayedCount };
  } catch (error) {
    if (isTimeout(error)) throw new ReplayTooLargeError();
    throw error;
  }
}

/** An event has its delivery's tenant: `isNot: null` would look at the delivery's column alone, which has no nulls. */
function replayable(tenant: string): Prisma.DeliveryWhereInput {
  return { subscription: { isActive: true, deletedAt: null }, event: { tenant } };
}

/** Each running replay adds to what the tenant's endpoints get beside new events, and each count keeps Postgres busy. */
export class TooManyReplaysError extends DomainError {
  readonly code = 'TOO_MANY_REPLAYS';

  constructor(limit: number) {
    super(
      `at most ${limit} replays of a tenant can run at a time, and one can start; wait until one has ended, or cancel it`,
    );
  }
}

/** What cannot be counted in time could not be worked through either. */
export class ReplayTooLargeError extends DomainError {
  readonly code = 'REPLAY_TOO_LARGE';

  constructor() {
    super(
      'the deliveries that the filter means could not be counted in time; narrow it down, for example with from and to',
    );
  }
}

export class ReplayNotRunningError extends DomainError {
  readonly code = 'REPLAY_NOT_RUNNING';

  constructor(status: ReplayStatus) {
    super(status === 'DRY_RUN' ? 'a dry run sends nothing' : `the replay has already ended with ${status}`);
  }
}

/** Of two keys, so that it is none of the locks of one. */
const LOCK = 57_031;

/** Lets one transaction at a time start a replay of the tenant, until it ends; false: another one is at it. */
async function lockReplayStart(db: Queryable, tenant: string): Promise<boolean> {
  const { rows } = await db.query<{ isOurs: boolean }>(
    'SELECT pg_try_advisory_xact_lock($1::integer, hashtext($2::text)) AS "isOurs"',
    [LOCK, tenant],
  );
  return rows[0]?.isOurs === true;
}
