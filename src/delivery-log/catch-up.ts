import type { LiveLog } from './live-log.ts';
import type { Attempt, Prisma, PrismaClient } from '../generated/prisma/client.ts';
import type { AttemptStream } from './attempt-stream.ts';
import type { DeliveryFilter } from './delivery-filter.ts';
import { attemptWhere } from './delivery-filter-where.ts';
import type { LogPosition } from './log-position.ts';

export type CatchUpOptions = {
  readonly liveLog: Pick<LiveLog, 'settledId'>;
  readonly stream: AttemptStream;
  readonly filter: DeliveryFilter;
  readonly position: LogPosition;
  /** Begins the reading when it is its turn. */
  readonly inTurn: InTurn;
};

export type InTurn = <T>(read: () => Promise<T>) => Promise<T>;

const PAGE_SIZE = 200;
/** So many ids of the last seconds at a time. */
const MAX_RECENT = 100_000;
const OLDEST_FIRST = { id: 'asc' } as const;

/**
 * What is in the log beyond the position, which gets as far as the log is now: the caller adds to it what comes out.
 * Each statement is a turn of its own, so that a client that reads slowly keeps nobody waiting.
 */
export async function* catchUp(prisma: PrismaClient, options: CatchUpOptions): AsyncGenerator<Attempt, void> {
  const { liveLog, stream, filter, position, inTurn } = options;
  const { attempt: attempts } = prisma;
  const where = attemptWhere(filter);
  const isUnseen = ({ id }: { readonly id: string }) => !position.has(id);
  stream.forgetBeyond(position.base);
  // What is older does not change any more, so it can be read page by page.
  for (let cursor = position.base; !stream.ended; ) {
    const { page, settledId } = await inTurn(async () => {
      const { settledId: until } = liveLog;
      const pageWhere = { AND: [where, { id: { gt: cursor, lte: until } }] };
      const rows = await attempts.findMany({ where: pageWhere, orderBy: OLDEST_FIRST, take: PAGE_SIZE });
      return { page: rows, settledId: until };
    });
    yield* page.filter(isUnseen);
    cursor = page.at(-1)?.id ?? cursor;
    if (page.length < PAGE_SIZE) {
      position.settle(settledId);
      break;
    }
  }
  // Of the last seconds, one statement has to say what there is: between two, others may commit what belongs before.
  // That is announced to the stream; so it is too if there is more than one statement takes.
  for (let cursor: string | undefined = position.base; cursor !== undefined; ) {
    const recentWhere: Prisma.AttemptWhereInput = { AND: [where, { id: { gt: cursor } }] };
    const recent = await inTurn(() =>
      attempts.findMany({ select: { id: true }, where: recentWhere, orderBy: OLDEST_FIRST, take: MAX_RECENT }),
    );
    const unseen = recent.filter(isUnseen).map(({ id }) => id);
    for (let start = 0; start < unseen.length && !stream.ended; start += PAGE_SIZE) {
      const ids = unseen.slice(start, start + PAGE_SIZE);
      yield* await inTurn(() => attempts.findMany({ where: { id: { in: ids } }, orderBy: OLDEST_FIRST }));
    }
    cursor = recent.length < MAX_RECENT ? undefined : recent.at(-1)?.id;
  }
}
