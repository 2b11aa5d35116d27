import { advanceReplay } from '../database/advance-replay.ts';
import { type ClaimedReplay, claimReplay } from '../database/claim-replay.ts';
import { inPrismaTransaction } from '../database/in-prisma-transaction.ts';
import { insertReplayed } from '../database/insert-replayed.ts';
import { replayedDeliveryId } from '../events/delivery-id.ts';
import type { Prisma } from '../generated/prisma/client.ts';

export type ReplayBatchOptions = {
  /** The condition that a stored DeliveryFilter stands for. */
  readonly whereOf: (filter: unknown) => Prisma.DeliveryWhereInput;
  /** Told which replay is being worked on. */
  readonly onClaim: (replayId: string) => void;
};

/** A replay makes what its rate allows for so much of a second at a time. */
const BATCHES_PER_SECOND = 5;

/**
 * Takes the next deliveries of a replay whose turn it is, and makes the new ones, in a transaction: a crash leaves all of
 * that or nothing. Returns false if there is no such replay.
 */
export async function replayBatch(
  transaction: Prisma.TransactionClient,
  { whereOf, onClaim }: ReplayBatchOptions,
): Promise<boolean> {
  const db = inPrismaTransaction(transaction);
  const replay = await claimReplay(db);
  if (replay === undefined) return false;
  onClaim(replay.id);
  const limit = Math.ceil(replay.ratePerSecond / BATCHES_PER_SECOND);
  const found = await transaction.delivery.findMany({
    where: { AND: [whereOf(replay.filter), remaining(replay)] },
    select: { id: true, eventId: true, subscriptionId: true },
    orderBy: { id: 'asc' },
    take: limit,
  });
  const deliveries = found.map(({ eventId, subscriptionId }) => ({
    ...{ id: replayedDeliveryId(replay.id, eventId, subscriptionId), eventRowId: eventId, subscriptionId },
  }));
  const replayed = found.length === 0 ? 0 : await insertReplayed(db, { replayId: replay.id, deliveries });
  await advanceReplay(db, {
    id: replay.id,
    afterId: found.at(-1)?.id ?? replay.afterId,
    replayed,
    skipped: found.length - replayed,
    isLast: found.length < limit,
  });
  return true;
}

/** Nothing that came after the replay: above all not what it has made itself. */
function remaining({ tenant, createdAt, afterId }: ClaimedReplay): Prisma.DeliveryWhereInput {
  return { tenant, createdAt: { lte: createdAt }, id: { gt: afterId } };
}
