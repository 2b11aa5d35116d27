import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { Batcher } from '../../postgres/batcher.ts';
import type { Database } from '../../postgres/client.ts';
import { isRowSpecific, isTimeout, isTransient, PermanentError } from '../../postgres/errors.ts';
import { extendLeases } from '../queue/lease-deliveries.ts';
import { createIdSequence } from '../../lib/uuid7.ts';
import { type Result, writeResults } from './write-results.ts';
import { isLate } from '../../delivery-log/feed.ts';
import type { EventBus } from '../../nats/event-bus.ts';
import { pause } from '../../lib/pause.ts';
import { whenAborted } from '../../lib/when-aborted.ts';
import type { UnwrittenAttempt } from './attempt.ts';
import { type AttemptMetrics, createAttemptMetrics } from './attempt-metrics.ts';
import type { CircuitBreaker } from '../circuit/breaker.ts';

export type ResultWriterOptions = {
  readonly database: Database;
  readonly bus: EventBus;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly circuits: CircuitBreaker;
  /** Aborted when nobody waits for Postgres to come back any more. */
  readonly signal: AbortSignal;
  readonly limits?: Partial<WriterLimits>;
};

type WriterLimits = {
  readonly retryMs: number;
  /** For how long a result is tried again that Postgres refuses while it answers: it takes a permit of its subscription. */
  readonly insistMs: number;
  /** How often the leases are extended of deliveries whose result has not been written for so long. */
  readonly extendLeasesMs: number;
};

const LIMITS: WriterLimits = { retryMs: 1_000, insistMs: 30_000, extendLeasesMs: 10_000 };

/** A result whose attempt gets its id when it is written: the log is in the order of ids. */
export type UnwrittenResult = Omit<Result, 'attempt' | 'nextAttemptInMs'> & {
  readonly attempt: UnwrittenAttempt;
  /** When the next attempt is due, on performance.now()'s clock: writing may take long. Null once the delivery has ended. */
  readonly dueAt: number | null;
};

/** With the id that it may have been committed under. */
type Item = { readonly result: UnwrittenResult; id: string | undefined };

const MAX_BATCH = 500;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;
/** Leases are extended by several intervals: one statement that fails must not let another sender have the delivery. */
const LEASE_INTERVALS = 6;
const LOG_EVERY_MS = 30_000;
/** What is left for a write when nobody waits any more. */
const GRACE_MS = 500;

/** Writes what became of attempts, many at a time, and tells who watches the log. */
export class ResultWriter {
  readonly #options: ResultWriterOptions;
  readonly #metrics: AttemptMetrics;
  readonly #together: Batcher<Item, void>;
  /** What was refused is tried again here, one at a time, so that no other waits for it. */
  readonly #alone: Batcher<Item, void>;
  readonly #limits: WriterLimits;
  /** Results that are not written yet, with the time (performance.now()) when each was added. */
  readonly #unwritten = new Map<UnwrittenResult, number>();
  #extending: NodeJS.Timeout | undefined;
  #loggedAt = Number.NEGATIVE_INFINITY;

  constructor(options: ResultWriterOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#metrics = createAttemptMetrics(options.metrics, options.database.clock);
    this.#together = this.#createLane(MAX_BATCH);
    this.#alone = this.#createLane(1);
  }

  /**
   * Resolves once the result is committed, however long Postgres is away or the tables are locked. Rejects with a
   * PermanentError if Postgres refuses it though it answers; else only when the signal aborts, and then soon, also while a statement hangs: what it says may
   * still be committed, which does no harm.
   */
  write(result: UnwrittenResult): Promise<void> {
    this.#unwritten.set(result, performance.now());
    this.#extending ??= setInterval(() => void this.#extendLeases(), this.#limits.extendLeasesMs);
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const forget = whenAborted(this.#options.signal, () => {
        timer = setTimeout(() => {
          reject(new Error('Postgres has not said that it recorded an attempt'));
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

  /**
   * What Postgres refuses is tried again for a while if that may help, and at last without its response. A statement that
   * took too long was not refused: somebody has locked the row, or the whole table. Then nobody else could record the
   * result either, so it is kept until it can be written, and its request is not sent again.
   */
  async #record(result: UnwrittenResult): Promise<void> {
    const { log, signal } = this.#options;
    const { deliveryId } = result.attempt;
    let item: Item = { result, id: undefined };
    let lane = this.#together;
    let isStripped = false;
    let until: number | undefined;
    for (;;) {
      try {
        await lane.add(item);
        return;
      } catch (error) {
        if (signal.aborted) throw error;
        lane = this.#alone;
        if (isTimeout(error)) {
          this.#logKept(error);
          await pause(this.#limits.retryMs, signal);
          continue;
        }
        until ??= performance.now() + this.#limits.insistMs;
        if (isTransient(error) && performance.now() < until) {
          await pause(this.#limits.retryMs, signal);
        } else if (!isStripped) {
          log.error({ err: error, deliveryId }, 'Postgres refused an attempt; recording it without its response');
          item = { ...item, result: withoutResponse(result) };
          isStripped = true;
        } else {
          throw new PermanentError('Postgres refused an attempt', { cause: error });
        }
      }
    }
  }

  #logKept(error: unknown): void {
    if (performance.now() - this.#loggedAt < LOG_EVERY_MS) return;
    this.#loggedAt = performance.now();
    const attempts = this.#unwritten.size;
    this.#options.log.error(
      { err: error, attempts },
      'attempts are kept until a lock in Postgres lets them be recorded',
    );
  }

  /** While a result cannot be written, a message that NATS redelivers to another sender must not lead to another request. */
  async #extendLeases(): Promise<void> {
    const { database, log } = this.#options;
    const { extendLeasesMs } = this.#limits;
    const before = performance.now() - extendLeasesMs;
    const old = [...this.#unwritten].filter(([, since]) => since <= before).map(([{ attempt }]) => attempt);
    if (old.length === 0) return;
    try {
      await extendLeases(database.pool, { attempts: old, leaseMs: extendLeasesMs * LEASE_INTERVALS });
    } catch (error) {
      // While Postgres is away nobody gets a lease.
      log.debug({ err: error }, 'leases could not be extended');
    }
  }

  /** Its ids are of a sequence of their own, because those of one are committed in order. */
  #createLane(maxItems: number): Batcher<Item, void> {
    const { clock } = this.#options.database;
    const nextId = createIdSequence();
    let previousId: string | undefined;
    return new Batcher<Item, void>({
      maxItems,
      maxBytes: MAX_BATCH_BYTES,
      bytesOf: ({ result }) => result.attempt.responseBody?.length ?? 0,
      write: async (items) => {
        for (const { attempt } of await this.#write(items, () => nextId(clock.now()))) {
          // With the id before it, so that a reader that missed one knows.
          this.#options.bus.announce({ ...attempt, previousId, isLate: isLate(attempt.id, clock.now()) });
          previousId = attempt.id;
        }
        return [];
      },
    });
  }

  /** Returns what it wrote; tries until then, or until Postgres refuses something. */
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
        // It may have been committed: only under the same ids nothing is logged twice.
        items.forEach((item, index) => {
          item.id = results[index]?.attempt.id;
        });
        if (failures % 30 === 0) {
          log.error({ err: error, attempts: items.length }, 'attempts cannot be recorded; trying again');
        }
        await pause(this.#limits.retryMs, signal);
      }
    }
  }
}

function withoutResponse({ attempt, ...rest }: UnwrittenResult): UnwrittenResult {
  return { ...rest, attempt: { ...attempt, responseHeaders: null, responseBody: null, errorMessage: null } };
}
