import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Attempt } from '../../generated/prisma/client.ts';
import { createIdSequence, uuid7Time } from '../../lib/uuid7.ts';
import { pause, whenAborted } from '../../lib/waiting.ts';
import { BATCH_EVERY_100_MS, Batcher, type Pace } from '../../postgres/batcher.ts';
import type { Database } from '../../postgres/client.ts';
import { failureLevel, isRowSpecific, isTimeout, isTransient, PermanentError } from '../../postgres/errors.ts';
import type { CircuitBreaker } from '../circuit/breaker.ts';
import { extendLeases } from '../queue/store.ts';
import type { NewAttempt } from './attempt.ts';
import { type AttemptMetrics, createAttemptMetrics } from './attempt-metrics.ts';
import { type Result, writeResults } from './write-results.ts';

/** Notifies the api processes of committed attempts. */
export type AttemptAnnouncer = {
  announce(attempt: Attempt & { readonly previousId: string | undefined; readonly isLate: boolean }): void;
};

export type ResultWriterOptions = {
  readonly database: Database;
  readonly feed: AttemptAnnouncer;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly circuits: CircuitBreaker;
  /**
   * Whether a delivery or the stopping sender waits for results. While true, results are written immediately. The caller
   * calls flush() when it becomes true.
   */
  readonly isUrgent: () => boolean;
  /** Aborted when the stopping sender no longer waits for Postgres. */
  readonly signal: AbortSignal;
  readonly limits?: Partial<WriterLimits>;
};

type WriterLimits = {
  readonly retryMs: number;
  /** Milliseconds for which a result that Postgres refuses is retried. Until then it uses a permit of its subscription. */
  readonly writeRetryForMs: number;
  /** Interval at which leases are extended, and minimum age of an unwritten result whose lease is extended. */
  readonly extendLeasesMs: number;
};

const LIMITS: WriterLimits = { retryMs: 1_000, writeRetryForMs: 30_000, extendLeasesMs: 10_000 };

/** A result whose attempt gets its id when it is written, because the delivery log is ordered by id. */
export type NewResult = Omit<Result, 'attempt' | 'nextAttemptInMs'> & {
  readonly attempt: NewAttempt;
  /**
   * Time of the next attempt on performance.now()'s clock, not a delay, because the write may be delayed for minutes. Null
   * once the delivery has ended.
   */
  readonly dueAt: number | null;
};

/** `id`: the attempt's id from a failed write, which may have been committed under it. */
type Item = { readonly result: NewResult; id: string | undefined };

const MAX_BATCH = 500;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;
/** Intervals by which a lease is extended: one failed statement must not let another sender lease the delivery. */
const LEASE_INTERVALS = 6;
const LOG_EVERY_MS = 30_000;
/** Milliseconds that a running write may continue after the signal is aborted. */
const GRACE_MS = 500;

/** Writes results in batches, and announces their attempts to the watchers of the delivery log. */
export class ResultWriter {
  readonly #options: ResultWriterOptions;
  readonly #metrics: AttemptMetrics;
  readonly #batched: Batcher<Item, void>;
  /** Retries refused results one at a time, so that they delay no others. */
  readonly #single: Batcher<Item, void>;
  readonly #limits: WriterLimits;
  /** Unwritten results, with the time (performance.now()) at which each was added. */
  readonly #unwritten = new Map<NewResult, number>();
  #extending: NodeJS.Timeout | undefined;
  #loggedAt = Number.NEGATIVE_INFINITY;

  constructor(options: ResultWriterOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#metrics = createAttemptMetrics(options.metrics, options.database.clock);
    // No delivery waits for these results. A crash repeats the requests of one interval.
    this.#batched = this.#createBatcher(MAX_BATCH, { ...BATCH_EVERY_100_MS, isUrgent: options.isUrgent });
    this.#single = this.#createBatcher(1);
  }

  /**
   * Resolves when the result is committed, without a time limit while Postgres is unavailable or the tables are locked.
   * Rejects with a PermanentError if Postgres refuses the result. Otherwise rejects only within GRACE_MS after the signal
   * aborts, even if a statement is still running; that statement may commit, which is harmless.
   */
  write(result: NewResult): Promise<void> {
    this.#unwritten.set(result, performance.now());
    this.#extending ??= setInterval(() => void this.#extendLeases(), this.#limits.extendLeasesMs);
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const forget = whenAborted(this.#options.signal, () => {
        timer = setTimeout(() => {
          reject(new Error('sender stopped before Postgres confirmed a result'));
        }, GRACE_MS);
      });
      void this.#record(result)
        .then(resolve, reject)
        .finally(() => {
          clearTimeout(timer);
          forget();
          this.#unwritten.delete(result);
          if (this.#unwritten.size > 0) return;
          clearInterval(this.#extending);
          this.#extending = undefined;
        });
    });
  }

  /** Writes the results added so far immediately. */
  flush(): void {
    this.#batched.flush();
  }

  /**
   * Retries a refused result for `writeRetryForMs` if the error is transient, and finally without its response. A statement
   * that timed out was not refused: the row or the whole table is locked. No other sender could record the result either, so
   * it is kept until it can be written, and its request is not sent again.
   */
  async #record(result: NewResult): Promise<void> {
    const { log, signal } = this.#options;
    const { deliveryId } = result.attempt;
    let item: Item = { result, id: undefined };
    let batcher = this.#batched;
    let isStripped = false;
    let until: number | undefined;
    for (;;) {
      try {
        const written = batcher.add(item);
        // The mutation sendTestEvent may be waiting for this result.
        if (result.attempt.isTest) batcher.flush();
        await written;
        return;
      } catch (error) {
        if (signal.aborted) throw error;
        batcher = this.#single;
        if (isTimeout(error)) {
          this.#logBlocked(error);
          await pause(this.#limits.retryMs, signal);
          continue;
        }
        until ??= performance.now() + this.#limits.writeRetryForMs;
        if (isTransient(error) && performance.now() < until) {
          await pause(this.#limits.retryMs, signal);
        } else if (!isStripped) {
          log.error({ err: error, deliveryId }, 'Postgres refused a result; writing it without the response');
          item = { ...item, result: withoutResponse(result) };
          isStripped = true;
        } else {
          throw new PermanentError('Postgres refused a result', { cause: error });
        }
      }
    }
  }

  #logBlocked(error: unknown): void {
    if (performance.now() - this.#loggedAt < LOG_EVERY_MS) return;
    this.#loggedAt = performance.now();
    const attempts = this.#unwritten.size;
    this.#options.log.error({ err: error, attempts }, 'results not written: a lock in Postgres blocks them; retrying');
  }

  /** While a result cannot be written, another sender that gets its message redelivered must not send the request again. */
  async #extendLeases(): Promise<void> {
    const { database, log } = this.#options;
    const { extendLeasesMs } = this.#limits;
    const before = performance.now() - extendLeasesMs;
    const old = [...this.#unwritten].filter(([, since]) => since <= before).map(([{ attempt }]) => attempt);
    if (old.length === 0) return;
    try {
      await extendLeases(database.pool, { attempts: old, leaseMs: extendLeasesMs * LEASE_INTERVALS });
    } catch (error) {
      // While Postgres is unavailable no other sender gets a lease.
      log[failureLevel(error)]({ err: error }, 'leases not extended');
    }
  }

  /** Each batcher has its own sequence of ids, because the ids of one sequence are committed in order. */
  #createBatcher(maxItems: number, pace?: Pace): Batcher<Item, void> {
    const { clock } = this.#options.database;
    const nextId = createIdSequence();
    let previousId: string | undefined;
    return new Batcher<Item, void>({
      maxItems,
      maxBytes: MAX_BATCH_BYTES,
      bytesOf: ({ result }) => result.attempt.responseBody?.length ?? 0,
      ...(pace !== undefined && { pace }),
      write: async (items) => {
        for (const { attempt } of await this.#write(items, () => nextId(clock.now()))) {
          // `previousId` lets a reader detect a missed announcement.
          this.#options.feed.announce({ ...attempt, previousId, isLate: isLate(attempt.id, clock.latest()) });
          previousId = attempt.id;
        }
        return [];
      },
    });
  }

  /** Returns the written results. Retries until they are written or Postgres refuses one of them. */
  async #write(items: readonly Item[], newId: () => string): Promise<readonly Result[]> {
    const { database, log, circuits, signal } = this.#options;
    for (let failures = 0; ; failures += 1) {
      const results = items.map(({ result: { dueAt, ...result }, id = newId() }) => ({
        ...result,
        attempt: { id, ...result.attempt },
        nextAttemptInMs: dueAt === null ? null : Math.max(0, dueAt - performance.now()),
      }));
      const begun = performance.now();
      try {
        const recovering = await writeResults(database.pool, results);
        this.#metrics.written(results, (performance.now() - begun) / 1_000);
        circuits.observe(
          results.flatMap(({ attempt }) => (attempt.isTest ? [] : [attempt])),
          recovering,
        );
        return results;
      } catch (error) {
        this.#metrics.writeFailed();
        if (isRowSpecific(error) || signal.aborted) throw error;
        // The statement may have been committed. The retry uses the same ids, so no attempt is logged twice.
        items.forEach((item, index) => {
          item.id = results[index]?.attempt.id;
        });
        if (failures % 30 === 0) {
          log.error({ err: error, attempts: items.length }, 'results not written; retrying');
        }
        await pause(this.#limits.retryMs, signal);
      }
    }
  }
}

function withoutResponse({ attempt, ...rest }: NewResult): NewResult {
  return { ...rest, attempt: { ...attempt, responseHeaders: null, responseBody: null, errorMessage: null } };
}

/**
 * Milliseconds after which an attempt is committed late. Half of the time after which readers treat it as seen (see
 * delivery-log/live-log.ts); the other half is tolerance for clock skew.
 */
export const LATE_AFTER_MS = 7_500;

/**
 * Whether an attempt that is committed now got its id over LATE_AFTER_MS before `latestMs`, the greatest time of the clock
 * that ids use. After that clock was set back, new ids lie below positions of readers that were opened before: as late
 * attempts they are shown to these readers nevertheless (ADR 9, ADR 11).
 */
export function isLate(id: string, latestMs: number): boolean {
  return latestMs - uuid7Time(id) > LATE_AFTER_MS;
}
