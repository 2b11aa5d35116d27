import { uuid7, uuid7Time } from '../database/uuid7.ts';
import type { Attempt } from '../generated/prisma/client.ts';
import { AttemptStream } from './attempt-stream.ts';
import type { Context } from './context.ts';
import { attemptMatches, type DeliveryFilter } from './delivery-filter.ts';
import { attemptWhere } from './delivery-filter-where.ts';

/** A failure is the last emission: thrown where it is resolved, it becomes an error like any other over every transport. */
export type Emission =
  | { readonly kind: 'attempt'; readonly attempt: Attempt }
  | { readonly kind: 'failure'; readonly error: unknown };

export type WatchOptions = {
  readonly filter: DeliveryFilter;
  /** The attempt after which to begin, by id; undefined: with the next one that is made. */
  readonly after: string | undefined;
};

const PAGE_SIZE = 200;
/** An attempt is announced at most so long after its id was made; the two are some milliseconds apart as a rule. */
const ANNOUNCED_WITHIN_MS = 60_000;

/**
 * The attempts made from now on, after those that were missed since `after`. It watches before it reads, so that
 * nothing falls between; and it reads again what was not announced while NATS was away. Ends when the server stops; `return` ends it at once, also while it waits.
 */
export function watchDeliveryLog(context: Context, options: WatchOptions): AsyncIterableIterator<Emission> {
  const stream = new AttemptStream(context.services.bus, attemptMatches(options.filter), context.stopping);
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
    const emitted = new Set<string>();
    let last = after ?? uuid7(Date.now());
    if (after !== undefined) last = yield* catchUp(context, { stream, filter, after, emitted });
    for (;;) {
      const taken = await stream.take();
      if (taken === undefined) return;
      if (taken === 'gap') {
        last = yield* catchUp(context, { stream, filter, after: last, emitted });
        continue;
      }
      for (const attempt of taken) {
        if (!emitted.delete(attempt.id)) yield { kind: 'attempt', attempt };
        if (attempt.id > last) last = attempt.id;
      }
    }
  } catch (error) {
    yield { kind: 'failure', error };
  } finally {
    stream.end();
  }
}

type CatchUpOptions = EmitOptions & {
  readonly after: string;
  /** Gets the ids of what may be announced as well. */
  readonly emitted: Set<string>;
};

/** Returns the id up to which everything has been emitted. */
async function* catchUp({ services }: Context, options: CatchUpOptions): AsyncGenerator<Emission, string> {
  const { stream, filter, emitted } = options;
  let cursor = options.after;
  let isRecent = false;
  while (!stream.ended) {
    const page = await services.database.prisma.attempt.findMany({
      where: { AND: [attemptWhere(filter), { id: { gt: cursor } }] },
      orderBy: { id: 'asc' },
      take: PAGE_SIZE,
    });
    for (const attempt of page) {
      emitted.add(attempt.id);
      yield { kind: 'attempt', attempt };
    }
    cursor = page.at(-1)?.id ?? cursor;
    if (page.length < PAGE_SIZE) return cursor;
    // Far behind, whatever is announced is still ahead in the table: only the last stretch needs the buffer. Once
    // there, it stays: an attempt that was committed late may be behind us in the table and only in the buffer.
    isRecent ||= uuid7Time(cursor) > Date.now() - ANNOUNCED_WITHIN_MS;
    if (isRecent) continue;
    stream.clear();
    emitted.clear();
  }
  return cursor;
}
