import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { Batcher } from '../database/batcher.ts';
import type { Database } from '../database/client.ts';
import { isRowSpecific, isTransient, PermanentError } from '../database/errors.ts';
import { createIdSequence } from '../database/uuid7.ts';
import { type Result, writeResults } from '../database/write-results.ts';
import type { EventBus } from '../events/event-bus.ts';
import { pause } from '../pause.ts';
import { whenAborted } from '../when-aborted.ts';
import type { UnwrittenAttempt } from './attempt.ts';
import { type AttemptMetrics, createAttemptMetrics } from './attempt-metrics.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';

export type ResultWriterOptions = {
  readonly database: Database;
  readonly bus: EventBus;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly circuits: CircuitBreaker;
  /** Aborted when nobody waits for Postgres to come back any more. */
  readonly signal: AbortSignal;
};

/** A result whose attempt gets its id when it is written: the log is in the order of ids. */
export type UnwrittenResult = Omit<Result, 'attempt'> & { readonly attempt: UnwrittenAttempt };

/** With the id that it may have been committed under. */
type Item = { readonly result: UnwrittenResult; id: string | undefined };

const MAX_BATCH = 500;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;
const RETRY_MS = 1_000;
/** How long a result is tried again that Postgres refuses while it answers: it takes up one of its subscription's places. */
const INSIST_MS = 30_000;
/** What is left for a write when nobody waits any more. */
const GRACE_MS = 500;

/** Writes what became of attempts, many at a time, and tells who watches the log. */
export class ResultWriter {
  readonly #options: ResultWriterOptions;
  readonly #metrics: AttemptMetrics;
  readonly #together: Batcher<Item, void>;
  /** What was refused is tried again here, one at a time, so that no other waits for it. */
  readonly #alone: Batcher<Item, void>;

  constructor(options: ResultWriterOptions) {
    this.#options = options;
    this.#metrics = createAttemptMetrics(options.metrics);
    this.#together = this.#createLane(MAX_BATCH);
    this.#alone = this.#createLane(1);
  }

  /**
   * Resolves once the result is committed, however long Postgres is away. Rejects with a PermanentError if Postgres refuses
   * it though it answers; else only when the signal aborts, and then soon, also while a statement hangs: what it says may
   * still be committed, which does no harm.
   */
  write(result: UnwrittenResult): Promise<void> {
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
        });
    });
  }

  /** What Postgres refuses is tried again for a while if that may help, and at last without its response. */
  async #record(result: UnwrittenResult): Promise<void> {
    const { log, signal } = this.#options;
    const { deliveryId } = result.attempt;
    let item: Item = { result, id: undefined };
    let isStripped = false;
    let until: number | undefined;
    for (;;) {
      try {
        await (until === undefined ? this.#together : this.#alone).add(item);
        return;
      } catch (error) {
        if (signal.aborted) throw error;
        until ??= Date.now() + INSIST_MS;
        if (isTransient(error) && Date.now() < until) {
          await pause(RETRY_MS, signal);
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

  /** Its ids are of a sequence of their own, because those of one are committed in order. */
  #createLane(maxItems: number): Batcher<Item, void> {
    const nextId = createIdSequence();
    let previousId: string | undefined;
    return new Batcher<Item, void>({
      maxItems,
      maxBytes: MAX_BATCH_BYTES,
      bytesOf: ({ result }) => result.attempt.responseBody?.length ?? 0,
      write: async (items) => {
        for (const { attempt } of await this.#write(items, () => nextId(Date.now()))) {
          // With the id before it, so that who misses one knows.
          this.#options.bus.announce({ ...attempt, previousId });
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
      const results = items.map(({ result, id = newId() }) => ({ ...result, attempt: { id, ...result.attempt } }));
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
        await pause(RETRY_MS, signal);
      }
    }
  }
}

function withoutResponse({ attempt, ...rest }: UnwrittenResult): UnwrittenResult {
  return { ...rest, attempt: { ...attempt, responseHeaders: null, responseBody: null, errorMessage: null } };
}
