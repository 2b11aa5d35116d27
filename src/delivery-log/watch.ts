import { formatPrismaCursor } from '@pothos/plugin-prisma';
import type { Viewer } from '../auth/viewer.ts';
import type { Attempt, Prisma, PrismaClient } from '../generated/prisma/client.ts';
import { isUuid, uuid7Floor, uuid7Source, uuid7Time } from '../lib/uuid7.ts';
import type { Database } from '../postgres/client.ts';
import type { CommittedAttempt } from './feed.ts';
import { attemptMatches, attemptWhere, type DeliveryFilter } from './filter.ts';
import { type LiveLog, latestAttempts, SETTLED_AFTER_MS } from './live.ts';

/** With the cursor to go on from: it says what was seen of every process that logs. */
type LiveAttempt = Attempt & { readonly cursor: string };

/** A failure is the last emission: thrown where it is resolved, it becomes an error like any other over every transport. */
type Emission =
  | { readonly kind: 'attempt'; readonly attempt: LiveAttempt }
  | { readonly kind: 'failure'; readonly error: unknown };

type LogServices = { readonly liveLog: LiveLog; readonly database: Database };

/** Who watches, and until when. */
type WatchContext = {
  readonly services: LogServices;
  readonly viewer: Viewer;
  /** Aborts when the server stops. */
  readonly stopping: AbortSignal;
};

type WatchOptions = {
  readonly filter: DeliveryFilter;
  /** Where to go on; undefined: with the next attempt that is made. */
  readonly after: LogPosition | undefined;
};

/**
 * The attempts made from now on, after those that were missed since `after`. It watches before it reads, so that
 * nothing falls between, and reads again from Postgres whatever was not announced or could not wait in memory.
 * Ends when the server stops; `return` ends it at once, also while it waits.
 */
export function watchDeliveryLog(context: WatchContext, options: WatchOptions): AsyncIterableIterator<Emission> {
  const stream = new AttemptStream(context.services.liveLog, attemptMatches(options.filter), context.stopping);
  const emissions = emit(context, { ...options, stream, startedAt: context.services.database.clock.now() });
  return {
    next: () => emissions.next(),
    // A generator's own `return` would wait for the next attempt.
    return: () => {
      stream.end();
      return emissions.return(undefined);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

type EmitOptions = WatchOptions & { readonly stream: AttemptStream; readonly startedAt: number };

async function* emit(context: WatchContext, options: EmitOptions): AsyncGenerator<Emission, undefined> {
  const { stream, filter, after, startedAt } = options;
  const { liveLog, database } = context.services;
  const inTurn = readInTurn(context, stream);
  try {
    const position = after ?? (await inTurn(() => endOfLog(context.services, startedAt)));
    const show = (attempt: Attempt): Emission => {
      position.add(attempt.id, liveLog.settledId);
      return toEmission(attempt, position);
    };
    let taken = after === undefined ? await stream.take() : 'gap';
    for (; taken !== undefined; taken = await stream.take()) {
      if (taken === 'gap') {
        for await (const attempt of catchUp(database.prisma, { liveLog, stream, filter, position, inTurn })) {
          yield show(attempt);
        }
      } else for (const attempt of unseenOf(taken, position)) yield show(attempt);
    }
  } catch (error) {
    if (!stream.ended) yield { kind: 'failure', error };
  } finally {
    stream.end();
  }
}

/** What is new; the position may take what was committed late for older than all that is to come, so that has to have been read. */
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

/** Those of a tenant wait in one line; who has gone meanwhile reads nothing. */
function readInTurn({ services, viewer }: WatchContext, stream: AttemptStream): InTurn {
  return (read) =>
    services.liveLog.readFairly(viewer.tenant ?? viewer.credentialId, () => {
      if (stream.ended) throw new Error('the stream has ended');
      return read();
    });
}

/** Everything that was made before this time; not what comes while it waits for its turn, which may be a gap. */
async function endOfLog({ database, liveLog }: LogServices, timeMs: number): Promise<LogPosition> {
  const base = uuid7Floor(Math.min(timeMs - SETTLED_AFTER_MS, uuid7Time(liveLog.settledId)));
  const position = new LogPosition(base);
  const latest = await latestAttempts(database.readPool, { sinceId: base, untilId: uuid7Floor(timeMs) });
  for (const { id } of latest) position.add(id, base);
  return position;
}

function toEmission(attempt: Attempt, position: LogPosition): Emission {
  return { kind: 'attempt', attempt: { ...attempt, cursor: formatPrismaCursor({ id: position.toString() }, 'id') } };
}

/** An attempt, or the id up to which there are no more of them. */
type StreamItem =
  | { readonly kind: 'attempt'; readonly attempt: CommittedAttempt }
  | { readonly kind: 'settled'; readonly id: string };

const MAX_BUFFERED = 1_000;

/**
 * The attempts committed since it was made, in a buffer that never holds more than 1,000: what a slow reader has no
 * room for is a gap, to be read from Postgres. Only what was committed late may not be found there, and is kept.
 */
export class AttemptStream {
  readonly #release: () => void;
  readonly #signal: AbortSignal;
  #buffer: StreamItem[] = [];
  #hasGap = false;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(liveLog: Pick<LiveLog, 'watch'>, matches: (attempt: Attempt) => boolean, signal: AbortSignal) {
    this.#signal = signal;
    this.#release = liveLog.watch({
      onAttempt: (attempt) => {
        if (matches(attempt)) this.#push({ kind: 'attempt', attempt });
      },
      onGap: this.#onGap,
      onSettled: (id) => {
        if (this.#buffer.at(-1)?.kind === 'settled') this.#buffer.pop();
        this.#push({ kind: 'settled', id });
      },
    });
    signal.addEventListener('abort', this.end);
    if (signal.aborted) this.end();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Resolves with what has come in since, or with a gap that comes before it; undefined once the stream has ended. */
  async take(): Promise<readonly StreamItem[] | 'gap' | undefined> {
    while (!this.#ended && !this.#hasGap && this.#buffer.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#ended) return undefined;
    if (this.#hasGap) {
      this.#hasGap = false;
      return 'gap';
    }
    const taken = this.#buffer;
    this.#buffer = [];
    return taken;
  }

  /** Forgets what is about to be read from Postgres, where it has been committed: all but late ones up to this id. */
  discardReadable(id: string): void {
    this.#buffer = this.#buffer.filter((item) => isLate(item) && item.attempt.id <= id);
  }

  /** Stops watching, and ends a `take` that waits. */
  readonly end = (): void => {
    this.#ended = true;
    this.#signal.removeEventListener('abort', this.end);
    this.#release();
    this.#wake?.();
  };

  #push(item: StreamItem): void {
    if (this.#buffer.length >= MAX_BUFFERED) this.#onGap();
    if (this.#buffer.length < MAX_BUFFERED) this.#buffer.push(item);
    this.#wake?.();
  }

  /** What has not been taken is in Postgres as well. */
  readonly #onGap = (): void => {
    this.#buffer = this.#buffer.filter(isLate);
    this.#hasGap = true;
    this.#wake?.();
  };
}

function isLate(item: StreamItem): item is StreamItem & { readonly kind: 'attempt' } {
  return item.kind === 'attempt' && item.attempt.isLate === true;
}

type CatchUpOptions = {
  readonly liveLog: Pick<LiveLog, 'settledId'>;
  readonly stream: AttemptStream;
  readonly filter: DeliveryFilter;
  readonly position: LogPosition;
  /** Begins the reading when it is its turn. */
  readonly inTurn: InTurn;
};

type InTurn = <T>(read: () => Promise<T>) => Promise<T>;

const PAGE_SIZE = 200;
/** So many ids of the last seconds at a time. */
const MAX_RECENT = 100_000;
const OLDEST_FIRST = { id: 'asc' } as const;

/**
 * What is in the log beyond the position, which gets as far as the log is now: the caller adds to it what comes out.
 * Each statement is a turn of its own, so that a client that reads slowly keeps nobody waiting.
 */
async function* catchUp(prisma: PrismaClient, options: CatchUpOptions): AsyncGenerator<Attempt, void> {
  const { liveLog, stream, filter, position, inTurn } = options;
  const { attempt: attempts } = prisma;
  const where = attemptWhere(filter);
  const isUnseen = ({ id }: { readonly id: string }) => !position.has(id);
  stream.discardReadable(position.base);
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

/** More processes than that do not log within the same 15 s. */
const MAX_SOURCES = 32;

/**
 * What a reader of the log has seen. Ids are in the order of the log only within one process: what another one commits
 * a moment later can have a smaller id. So this is an id up to which everything has been seen, and beyond it the last id
 * from each process.
 */
export class LogPosition {
  #base: string;
  #head: string;
  /** Also those that are not beyond the base any more: `since` is the base that they were seen beyond. */
  readonly #lastIds = new Map<string, { readonly since: string; readonly id: string }>();

  constructor(base: string) {
    this.#base = base;
    this.#head = base;
  }

  /** Reads what `toString` wrote, or the id of an attempt: then everything up to it has been seen. */
  static parse(text: string): LogPosition | undefined {
    const ids = text.toLowerCase().split('~');
    const [head = '', base = head, ...others] = ids;
    if (!ids.every(isUuid) || others.length > MAX_SOURCES) return undefined;
    const position = new LogPosition(base);
    for (const id of [...others, head]) position.#see(id);
    return position;
  }

  /** The last id that has been seen. */
  get head(): string {
    return this.#head;
  }

  /** Everything up to this id has been seen. */
  get base(): string {
    return this.#base;
  }

  has(id: string): boolean {
    return id <= this.#base || id <= (this.#lastIds.get(uuid7Source(id))?.id ?? '');
  }

  /** Whether it is known to be one of those that were seen, not only taken for it because it is not beyond the base. */
  hasSeen(id: string): boolean {
    const last = this.#lastIds.get(uuid7Source(id));
    return last !== undefined && id > last.since && id <= last.id;
  }

  /**
   * An attempt has been seen, as all those before it from the same process; and all those that are 15 s older, if they are
   * not beyond `settledId` (see LiveLog).
   */
  add(id: string, settledId: string): void {
    this.#see(id);
    const olderId = uuid7Floor(uuid7Time(this.#head) - SETTLED_AFTER_MS);
    this.settle(olderId < settledId ? olderId : settledId);
    if (this.#lastIds.size <= MAX_SOURCES) return;
    const [oldest] = [...this.#lastIds].sort(([, one], [, other]) => (one.id < other.id ? -1 : 1));
    if (oldest === undefined) return;
    this.#lastIds.delete(oldest[0]);
    this.settle(oldest[1].id);
  }

  #see(id: string): void {
    // What was committed late can be less than what was seen after it.
    if (!this.has(id)) {
      const last = this.#lastIds.get(uuid7Source(id));
      // What the process committed late in between may not have been seen.
      const since = last !== undefined && last.id >= this.#base ? last.since : this.#base;
      this.#lastIds.set(uuid7Source(id), { since, id });
    }
    if (id > this.#head) this.#head = id;
  }

  /** Everything up to this id has been seen. */
  settle(id: string): void {
    if (id > this.#base) this.#base = id;
  }

  /** The last id, the base, and the other ids, in the order of the log. */
  toString(): string {
    const lastIds = [...this.#lastIds.values()].map(({ id }) => id);
    const others = lastIds.filter((id) => id > this.#base && id !== this.#head);
    return [this.#head, this.#base, ...others].join('~');
  }
}
