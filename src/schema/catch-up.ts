import { uuid7Floor } from '../database/uuid7.ts';
import { SETTLED_AFTER_MS } from '../events/live-log.ts';
import type { Attempt, PrismaClient } from '../generated/prisma/client.ts';
import type { AttemptStream } from './attempt-stream.ts';
import type { DeliveryFilter } from './delivery-filter.ts';
import { attemptWhere } from './delivery-filter-where.ts';
import type { LogPosition } from './log-position.ts';

export type CatchUpOptions = {
  readonly stream: AttemptStream;
  readonly filter: DeliveryFilter;
  readonly position: LogPosition;
  /** Begins the reading when it is its turn. */
  readonly inTurn: InTurn;
};

export type InTurn = <T>(read: () => Promise<T>) => Promise<T>;

const PAGE_SIZE = 200;
/** So many ids of the last seconds at a time; more than that much of a log nobody can follow. */
const MAX_RECENT = 100_000;
const OLDEST_FIRST = { id: 'asc' } as const;

/**
 * What is in the log beyond the position, which gets as far as the log is now: the caller adds to it what comes out.
 * Each statement is a turn of its own, so that a client that reads slowly keeps nobody waiting.
 */
export async function* catchUp(prisma: PrismaClient, options: CatchUpOptions): AsyncGenerator<Attempt, void> {
  const { stream, filter, position, inTurn } = options;
  const { attempt: attempts } = prisma;
  const where = attemptWhere(filter);
  const isUnseen = ({ id }: { readonly id: string }) => !position.has(id);
  stream.forgetBeyond(position.base);
  // What is older does not change any more, so it can be read page by page.
  for (let cursor = position.base; !stream.ended; ) {
    const settledId = uuid7Floor(Date.now() - SETTLED_AFTER_MS);
    const pageWhere = { AND: [where, { id: { gt: cursor, lte: settledId } }] };
    const page = await inTurn(() => attempts.findMany({ where: pageWhere, orderBy: OLDEST_FIRST, take: PAGE_SIZE }));
    yield* page.filter(isUnseen);
    cursor = page.at(-1)?.id ?? cursor;
    if (page.length < PAGE_SIZE) {
      position.settle(settledId);
      break;
    }
  }
  // Of the last seconds, one statement has to say what there is: between two, others may commit what belongs before.
  const recentWhere = { AND: [where, { id: { gt: position.base } }] };
  const recent = await inTurn(() =>
    attempts.findMany({ select: { id: true }, where: recentWhere, orderBy: OLDEST_FIRST, take: MAX_RECENT }),
  );
  const unseen = recent.filter(isUnseen).map(({ id }) => id);
  for (let start = 0; start < unseen.length && !stream.ended; start += PAGE_SIZE) {
    const ids = unseen.slice(start, start + PAGE_SIZE);
    yield* await inTurn(() => attempts.findMany({ where: { id: { in: ids } }, orderBy: OLDEST_FIRST }));
  }
}
