import { advanceReplay } from './advance-replay.ts';
import { type ClaimedReplay, claimReplay } from './claim-replay.ts';
import { inPrismaTransaction } from '../postgres/in-prisma-transaction.ts';
import { insertReplayed } from './insert-replayed.ts';
import { uuid7 } from '../lib/uuid7.ts';
import type { Prisma } from '../generated/prisma/client.ts';

export type ReplayBatchOptions = {
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
  const { made, dealtWith } = await make(db, { replay, found, limit });
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
async function make(
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
