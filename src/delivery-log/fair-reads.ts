import { InFlight } from '../lib/in-flight.ts';
import { FairSemaphore } from '../lib/semaphore.ts';

/**
 * Maximum concurrent reads, of the 10 connections of GraphQL: a thousand readers may reconnect when an api process
 * starts.
 */
const MAX_READS = 3;
/** Maximum concurrent reads of one tenant, because they may be slow. */
const MAX_READS_PER_TENANT = 2;

/** Runs the reads of Postgres for live streams: few at a time, round-robin by tenant. */
export class FairReads {
  readonly #semaphore = new FairSemaphore({ max: MAX_READS, maxPerKey: MAX_READS_PER_TENANT });
  readonly #reading = new InFlight();

  run<T>(tenant: string, read: () => Promise<T>): Promise<T> {
    return this.#reading.track(this.#semaphore.run(tenant, read));
  }

  /** Waits for reads in progress. */
  async stop(): Promise<void> {
    await this.#reading.settled();
  }
}
