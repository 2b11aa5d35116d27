import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Batcher } from '../database/batcher.ts';
import type { Database } from '../database/client.ts';
import { isTransient } from '../database/transient-error.ts';
import { type Result, writeResults } from '../database/write-results.ts';
import type { EventBus } from '../events/event-bus.ts';

export type ResultWriterOptions = {
  readonly database: Database;
  readonly bus: EventBus;
  readonly log: Logger;
  /** Aborted when nobody waits for Postgres to come back any more. */
  readonly signal: AbortSignal;
};

const MAX_BATCH = 500;
const RETRY_MS = 1_000;

/** Writes what became of attempts, many at a time, and tells who watches the log. */
export class ResultWriter {
  readonly #options: ResultWriterOptions;
  readonly #batcher: Batcher<Result>;

  constructor(options: ResultWriterOptions) {
    this.#options = options;
    this.#batcher = new Batcher({ maxItems: MAX_BATCH, write: (results) => this.#write(results) });
  }

  /** Resolves once the result is committed, however long Postgres is away; rejects only when the signal aborts. */
  write(result: Result): Promise<void> {
    return this.#batcher.add(result);
  }

  async #write(results: readonly Result[]): Promise<void> {
    const { database, bus, log, signal } = this.#options;
    for (let failures = 0; ; failures += 1) {
      try {
        await writeResults(database.pool, results);
        for (const { attempt } of results) bus.announce(attempt);
        return;
      } catch (error) {
        if (!isTransient(error)) {
          await this.#writeRefused(results, error);
          return;
        }
        if (signal.aborted) throw error;
        if (failures % 30 === 0)
          log.error({ err: error, attempts: results.length }, 'attempts cannot be recorded; trying again');
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
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
