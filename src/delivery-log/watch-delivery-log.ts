import { formatPrismaCursor } from '@pothos/plugin-prisma';
import { latestAttempts } from './latest-attempts.ts';
import { uuid7Floor, uuid7Time } from '../lib/uuid7.ts';
import { SETTLED_AFTER_MS } from './live-log.ts';
import type { Attempt } from '../generated/prisma/client.ts';
import { AttemptStream, type StreamItem } from './attempt-stream.ts';
import { catchUp, type InTurn } from './catch-up.ts';
import type { Context, SchemaServices } from '../schema/context.ts';
import { attemptMatches, type DeliveryFilter } from './delivery-filter.ts';
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

/**
 * The attempts made from now on, after those that were missed since `after`. It watches before it reads, so that
 * nothing falls between, and reads again from Postgres whatever was not announced or could not wait in memory.
 * Ends when the server stops; `return` ends it at once, also while it waits.
 */
export function watchDeliveryLog(context: Context, options: WatchOptions): AsyncIterableIterator<Emission> {
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

async function* emit(context: Context, options: EmitOptions): AsyncGenerator<Emission, undefined> {
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
function readInTurn({ services, viewer }: Context, stream: AttemptStream): InTurn {
  return (read) =>
    services.liveLog.readInTurn(viewer.tenant ?? viewer.credentialId, () => {
      if (stream.ended) throw new Error('the stream has ended');
      return read();
    });
}

/** Everything that was made before this time; not what comes while it waits for its turn, which may be a gap. */
async function endOfLog({ database, liveLog }: SchemaServices, timeMs: number): Promise<LogPosition> {
  const base = uuid7Floor(Math.min(timeMs - SETTLED_AFTER_MS, uuid7Time(liveLog.settledId)));
  const position = new LogPosition(base);
  const latest = await latestAttempts(database.readPool, { sinceId: base, untilId: uuid7Floor(timeMs) });
  for (const { id } of latest) position.add(id, base);
  return position;
}

function toEmission(attempt: Attempt, position: LogPosition): Emission {
  return { kind: 'attempt', attempt: { ...attempt, cursor: formatPrismaCursor({ id: position.toString() }, 'id') } };
}
