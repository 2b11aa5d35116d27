import { formatPrismaCursor } from '@pothos/plugin-prisma';
import { latestAttempts } from '../database/latest-attempts.ts';
import { uuid7Floor } from '../database/uuid7.ts';
import { SETTLED_AFTER_MS } from '../events/live-log.ts';
import type { Attempt } from '../generated/prisma/client.ts';
import { AttemptStream } from './attempt-stream.ts';
import type { Context, SchemaServices } from './context.ts';
import { attemptMatches, type DeliveryFilter } from './delivery-filter.ts';
import { attemptWhere } from './delivery-filter-where.ts';
import { LogPosition } from './log-position.ts';

/** With the cursor to go on from: it says what was seen of every process that logs. */
type LiveAttempt = Attempt & { readonly cursor: string };

/** A failure is the last emission: thrown where it is resolved, it becomes an error like any other over every transport. */
export type Emission =
  | { readonly kind: 'attempt'; readonly attempt: LiveAttempt }
  | { readonly kind: 'failure'; readonly error: unknown };

export type WatchOptions = {
  readonly filter: DeliveryFilter;
  /** Where to go on; undefined: with the next attempt that is made. */
  readonly after: LogPosition | undefined;
};

const PAGE_SIZE = 200;
/** So many ids of the last seconds at a time; more than that much of a log nobody can follow. */
const MAX_RECENT = 100_000;

/**
 * The attempts made from now on, after those that were missed since `after`. It watches before it reads, so that
 * nothing falls between, and reads again from Postgres whatever was not announced or could not wait in memory.
 * Ends when the server stops; `return` ends it at once, also while it waits.
 */
export function watchDeliveryLog(context: Context, options: WatchOptions): AsyncIterableIterator<Emission> {
  const stream = new AttemptStream(context.services.liveLog, attemptMatches(options.filter), context.stopping);
  const emissions = emit(context, { ...options, stream });
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

type EmitOptions = WatchOptions & { readonly stream: AttemptStream };

async function* emit(context: Context, { stream, filter, after }: EmitOptions): AsyncGenerator<Emission, undefined> {
  try {
    const position = after ?? (await endOfLog(context.services));
    if (after !== undefined) yield* catchUp(context, { stream, filter, position });
    // Whatever was announced since it watches is new, also if it was committed before the end of the log was read.
    else for (const item of stream.drain()) if (item.kind === 'attempt') yield toEmission(item.attempt, position);
    for (;;) {
      const taken = await stream.take();
      if (taken === undefined) return;
      if (taken === 'gap') {
        yield* catchUp(context, { stream, filter, position });
        continue;
      }
      for (const item of taken) {
        if (item.kind === 'settled') position.settle(item.id);
        else if (!position.has(item.attempt.id)) yield toEmission(item.attempt, position);
      }
    }
  } catch (error) {
    yield { kind: 'failure', error };
  } finally {
    stream.end();
  }
}

async function endOfLog({ database }: SchemaServices): Promise<LogPosition> {
  const base = uuid7Floor(Date.now() - SETTLED_AFTER_MS);
  const position = new LogPosition(base);
  for (const { id } of await latestAttempts(database.readPool, { sinceId: base })) position.add(id);
  return position;
}

type CatchUpOptions = {
  readonly stream: AttemptStream;
  readonly filter: DeliveryFilter;
  /** Gets as far as the log is now. */
  readonly position: LogPosition;
};

async function* catchUp({ services }: Context, options: CatchUpOptions): AsyncGenerator<Emission, undefined> {
  const { stream, filter, position } = options;
  const where = attemptWhere(filter);
  const { attempt: attempts } = services.database.prisma;
  const orderBy = { id: 'asc' } as const;
  // What is older does not change any more, so it can be read page by page.
  for (let cursor = position.base; !stream.ended; ) {
    const settledId = uuid7Floor(Date.now() - SETTLED_AFTER_MS);
    const id = { gt: cursor, lte: settledId };
    const page = await attempts.findMany({ where: { AND: [where, { id }] }, orderBy, take: PAGE_SIZE });
    for (const attempt of page) if (!position.has(attempt.id)) yield toEmission(attempt, position);
    cursor = page.at(-1)?.id ?? cursor;
    if (page.length < PAGE_SIZE) {
      position.settle(settledId);
      break;
    }
  }
  // Of the last seconds, one statement has to say what there is: between two, others may commit what belongs before.
  const recentWhere = { AND: [where, { id: { gt: position.base } }] };
  const recent = await attempts.findMany({ select: { id: true }, where: recentWhere, orderBy, take: MAX_RECENT });
  const unseen = recent.map(({ id }) => id).filter((id) => !position.has(id));
  for (let start = 0; start < unseen.length && !stream.ended; start += PAGE_SIZE) {
    const page = await attempts.findMany({ where: { id: { in: unseen.slice(start, start + PAGE_SIZE) } }, orderBy });
    for (const attempt of page) yield toEmission(attempt, position);
  }
}

function toEmission(attempt: Attempt, position: LogPosition): Emission {
  position.add(attempt.id);
  return { kind: 'attempt', attempt: { ...attempt, cursor: formatPrismaCursor({ id: position.toString() }, 'id') } };
}
