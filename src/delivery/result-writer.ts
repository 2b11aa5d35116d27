import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { Batcher } from '../database/batcher.ts';
import type { Database } from '../database/client.ts';
import { isTransient } from '../database/transient-error.ts';
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

const MAX_BATCH = 500;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;
const RETRY_MS = 1_000;
/** What is left for a write when nobody waits any more. */
const GRACE_MS = 500;

/** Writes what became of attempts, many at a time, and tells who watches the log. */
export class ResultWriter {
  readonly #options: ResultWriterOptions;
  readonly #batcher: Batcher<UnwrittenResult, void>;
  readonly #metrics: AttemptMetrics;
  readonly #nextId = createIdSequence();
  #lastId: string | undefined;

  constructor(options: ResultWriterOptions) {
    this.#options = options;
    this.#metrics = createAttemptMetrics(options.metrics);
    this.#batcher = new Batcher<UnwrittenResult, void>({
      maxItems: MAX_BATCH,
      maxBytes: MAX_BATCH_BYTES,
      bytesOf: ({ attempt }) => attempt.responseBody?.length ?? 0,
      write: async (results) => {
        const numbered = results.map((result) => ({
          ...result,
          attempt: { id: this.#nextId(Date.now()), ...result.attempt },
        }));
        await this.#write(numbered);
        for (const { attempt } of numbered) this.#announce(attempt);
        return [];
      },
    });
  }

  /**
   * Resolves once the result is committed, however long Postgres is away. Rejects only when the signal aborts, and then
   * soon, also while a statement hangs: what it says may still be committed, which does no harm.
   */
  write(result: UnwrittenResult): Promise<void> {
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const forget = whenAborted(this.#options.signal, () => {
        timer = setTimeout(() => {
          reject(new Error('Postgres has not said that it recorded an attempt'));
        }, GRACE_MS);
      });
      void this.#batcher
        .add(result)
        .then(resolve, reject)
        .finally(() => {
          clearTimeout(timer);
          forget();
        });
    });
  }

  /** With the id before it, so that who misses one knows. */
  #announce(attempt: Result['attempt']): void {
    this.#options.bus.announce({ ...attempt, previousId: this.#lastId });
    this.#lastId = attempt.id;
  }

  async #write(results: readonly Result[]): Promise<void> {
    const { database, log, circuits, signal } = this.#options;
    for (let failures = 0; ; failures += 1) {
      const begun = performance.now();
      try {
        const recovering = await writeResults(database.pool, results);
        this.#metrics.written(results, (performance.now() - begun) / 1_000);
        circuits.observe(
          results.map(({ attempt }) => attempt),
          recovering,
        );
        return;
      } catch (error) {
        this.#metrics.writeFailed();
        if (!isTransient(error)) {
          await this.#writeRefused(results, error);
          return;
        }
        if (signal.aborted) throw error;
        if (failures % 30 === 0) {
          log.error({ err: error, attempts: results.length }, 'attempts cannot be recorded; trying again');
        }
        await pause(RETRY_MS, signal);
      }
    }
  }

  /** A result that Postgres refuses must not take its batch along, and its delivery must still get on. */
  async #writeRefused(results: readonly Result[], error: unknown): Promise<void> {
    const [first] = results;
    if (results.length > 1) {
      for (const result of results) await this.#write([result]);
    } else if (first !== undefined && first.attempt.responseHeaders !== null) {
      const { deliveryId } = first.attempt;
      this.#options.log.error(
        { err: error, deliveryId },
        'Postgres refused an attempt; recording it without its response',
      );
      const attempt = { ...first.attempt, responseHeaders: null, responseBody: null, errorMessage: null };
      await this.#write([{ ...first, attempt }]);
    } else {
      throw error;
    }
  }
}
