import type { Viewer } from '../auth/viewer.ts';
import type { Attempt, Prisma } from '../generated/prisma/client.ts';
import { uuid7Floor, uuid7Time } from '../lib/uuid7.ts';
import type { CommittedAttempt } from './attempt-feed.ts';
import { attemptMatches, attemptWhere, type ResolvedFilter } from './filter.ts';
import { type Emission, emissionsOf, LiveBuffer } from './live-buffer.ts';
import { type LiveLog, latestAttempts, SETTLED_AFTER_MS } from './live-log.ts';
import { LogPosition } from './log-position.ts';

/** `position`: the position to resume from, with the last seen attempt of every process. */
type LiveAttempt = Attempt & { readonly position: string };

type WatchContext = {
  readonly services: { readonly liveLog: LiveLog };
  readonly viewer: Viewer;
  /** Aborts when the server stops. */
  readonly stopping: AbortSignal;
};

type WatchOptions = {
  readonly filter: ResolvedFilter;
  /** The position to resume from; undefined: start with the next attempt. */
  readonly after: LogPosition | undefined;
};

/**
 * Emits the attempts since `after`, and those made from now on. Starts to watch before it reads, so that no attempt is
 * lost in between. Reads from Postgres the attempts that were not announced or did not fit into the buffer. Ends when
 * the server stops; `return` ends it at once, even while it waits.
 */
export function watchDeliveryLog(
  context: WatchContext,
  options: WatchOptions,
): AsyncIterableIterator<Emission<LiveAttempt>> {
  const stream = new AttemptStream(context.services.liveLog, attemptMatches(options.filter), context.stopping);
  const startedAt = context.services.liveLog.database.clock.now();
  return emissionsOf({ buffer: stream, values: attemptsOf(context, { ...options, stream, startedAt }) });
}

type AttemptsOptions = WatchOptions & { readonly stream: AttemptStream; readonly startedAt: number };

async function* attemptsOf(context: WatchContext, options: AttemptsOptions): AsyncGenerator<LiveAttempt, void> {
  const { stream, filter, after, startedAt } = options;
  const { liveLog } = context.services;
  const readFairly = createFairRead(context, stream);
  const position = after ?? (await readFairly(() => endOfLog(liveLog, startedAt)));
  const show = (attempt: Attempt): LiveAttempt => {
    position.add(attempt.id, liveLog.settledId);
    return { ...attempt, position: position.toString() };
  };
  let taken = after === undefined ? await stream.take() : 'gap';
  for (; taken !== undefined; taken = await stream.take()) {
    if (taken === 'gap') {
      for await (const attempt of catchUp({ liveLog, stream, filter, position, readFairly })) {
        yield show(attempt);
      }
    } else for (const attempt of unseenOf(taken, position)) yield show(attempt);
  }
}

/**
 * Yields unseen attempts. A late commit can lie below the position's base, so it counts as seen only if this reader saw
 * it.
 */
function* unseenOf(items: readonly StreamItem[], position: LogPosition): Generator<Attempt, void> {
  for (const item of items) {
    if (item.kind === 'settled') {
      position.settle(item.id);
    } else {
      const { isLate = false, ...attempt } = item.attempt;
      const isUnread = isLate && attempt.id <= position.base && !position.hasSeen(attempt.id);
      if (isUnread || !position.has(attempt.id)) yield attempt;
    }
  }
}

/** The position of the present. A stream that continues after it misses no attempt that is committed after this call. */
export async function presentOfLog({ services, viewer }: Pick<WatchContext, 'services' | 'viewer'>): Promise<string> {
  const { liveLog } = services;
  const startedAt = liveLog.database.clock.now();
  const position = await liveLog.readFairly(viewer.tenant ?? viewer.credentialId, () => endOfLog(liveLog, startedAt));
  return position.toString();
}

/** Reads of one tenant share the tenant's quota. A stream that has ended reads nothing. */
function createFairRead({ services, viewer }: WatchContext, stream: AttemptStream): FairRead {
  return (read) =>
    services.liveLog.readFairly(viewer.tenant ?? viewer.credentialId, () => {
      if (stream.ended) throw new Error('the stream has ended');
      return read();
    });
}

/** The position after all attempts before `timeMs`. Attempts made while this read is queued may be part of a gap. */
async function endOfLog(liveLog: LiveLog, timeMs: number): Promise<LogPosition> {
  const base = uuid7Floor(Math.min(timeMs - SETTLED_AFTER_MS, uuid7Time(liveLog.settledId)));
  const position = new LogPosition(base);
  const latest = await latestAttempts(liveLog.database.readPool, { sinceId: base, untilId: uuid7Floor(timeMs) });
  for (const { id } of latest) position.add(id, base);
  return position;
}

/** An attempt, or the id up to which no more attempts are committed. */
type StreamItem =
  | { readonly kind: 'attempt'; readonly attempt: CommittedAttempt }
  | { readonly kind: 'settled'; readonly id: string };

/** Buffers the committed attempts. Late ones are kept at a gap, because the reader may not find them in Postgres. */
export class AttemptStream extends LiveBuffer<StreamItem> {
  constructor(
    liveLog: Pick<LiveLog, 'watch'> & Partial<Pick<LiveLog, 'maxBuffered'>>,
    matches: (attempt: Attempt) => boolean,
    signal: AbortSignal,
  ) {
    super({
      signal,
      survivesGap: isLate,
      maxBuffered: liveLog.maxBuffered,
      watch: ({ push, gap }) =>
        liveLog.watch({
          onAttempt: (attempt) => {
            if (matches(attempt)) push({ kind: 'attempt', attempt });
          },
          onGap: gap,
          onSettled: (id) => {
            const settled = { kind: 'settled', id } as const;
            push(settled, ({ kind }) => (kind === 'settled' ? settled : undefined));
          },
        }),
    });
  }

  /** Discards items that can now be read from Postgres: all but late attempts up to this id. */
  discardReadable(id: string): void {
    this.keep((item) => isLate(item) && item.attempt.id <= id);
  }
}

function isLate(item: StreamItem): item is StreamItem & { readonly kind: 'attempt' } {
  return item.kind === 'attempt' && item.attempt.isLate === true;
}

type CatchUpOptions = {
  readonly liveLog: Pick<LiveLog, 'settledId' | 'database'>;
  readonly stream: AttemptStream;
  readonly filter: ResolvedFilter;
  readonly position: LogPosition;
  readonly readFairly: FairRead;
};

type FairRead = <T>(read: () => Promise<T>) => Promise<T>;

const PAGE_SIZE = 200;
/** Maximum ids of one read of the unsettled end of the log: Prisma takes 1 ms of CPU time for each thousand. */
const MAX_RECENT = 20_000;
const OLDEST_FIRST = { id: 'asc' } as const;

/**
 * Yields the attempts in the log after the position, up to the present; the caller adds each to the position. Each
 * statement is a separate fair read, so that a slow client does not block others.
 */
async function* catchUp(options: CatchUpOptions): AsyncGenerator<Attempt, void> {
  const { liveLog, stream, filter, position, readFairly } = options;
  const { attempt: attempts } = liveLog.database.prisma;
  const where = attemptWhere(filter);
  const isUnseen = ({ id }: { readonly id: string }) => !position.has(id);
  stream.discardReadable(position.base);
  // The settled part of the log no longer changes, so it can be read page by page.
  for (let cursor = position.base; !stream.ended; ) {
    const { page, settledId } = await readFairly(async () => {
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
  // In the unsettled end of the log, senders may commit smaller ids between two statements. Those commits are announced to
  // the stream.
  for (let cursor: string | undefined = position.base; cursor !== undefined; ) {
    const recentWhere: Prisma.AttemptWhereInput = { AND: [where, { id: { gt: cursor } }] };
    const recent = await readFairly(() =>
      attempts.findMany({ select: { id: true }, where: recentWhere, orderBy: OLDEST_FIRST, take: MAX_RECENT }),
    );
    const unseen = recent.filter(isUnseen).map(({ id }) => id);
    for (let start = 0; start < unseen.length && !stream.ended; start += PAGE_SIZE) {
      const ids = unseen.slice(start, start + PAGE_SIZE);
      yield* await readFairly(() => attempts.findMany({ where: { id: { in: ids } }, orderBy: OLDEST_FIRST }));
    }
    cursor = recent.length < MAX_RECENT ? undefined : recent.at(-1)?.id;
  }
}
