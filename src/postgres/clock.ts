import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { Loop } from '../lib/loop.ts';
import type { Queryable } from './client.ts';
import { readClock } from './connection.ts';
import { failureLevel } from './errors.ts';

/**
 * A measurement whose round trip, in milliseconds, is at most this needs no second try. The error of a measurement is at
 * most half of its round trip.
 */
const GOOD_ROUND_TRIP_MS = 5;
/**
 * Measurements after the first one are dropped if their round trip, in milliseconds, is longer. Machine clocks drift less
 * than that in minutes.
 */
const MAX_ROUND_TRIP_MS = 100;
const MAX_TRIES = 5;

/**
 * Postgres's time, which all processes share. Ids, times in the delivery log and comparisons with times in the database
 * use it in place of this machine's clock. Between measurements it advances with the monotonic clock, so a wrong or
 * jumping machine clock has no effect. Due times do not use it: their statements compute `now()` plus a delay. Before
 * the first measurement it returns the machine's time.
 */
export class Clock {
  /** Postgres's time minus performance.now(), in milliseconds. */
  #offsetMs: number | undefined;
  #latestBeforeMs = Number.NEGATIVE_INFINITY;

  /** Whole milliseconds since 1970. */
  now(): number {
    return this.#offsetMs === undefined ? Date.now() : Math.round(performance.now() + this.#offsetMs);
  }

  /**
   * The greatest time that this clock has had. Later than `now()` only after Postgres's clock was set back, for example by a
   * failover to a server whose clock is behind.
   */
  latest(): number {
    return Math.max(this.now(), this.#latestBeforeMs);
  }

  /** The machine's time minus Postgres's time, in milliseconds; undefined before the first measurement. */
  get machineAheadMs(): number | undefined {
    const machineMs = Date.now();
    return this.#offsetMs === undefined ? undefined : machineMs - this.now();
  }

  /**
   * Takes the measurement with the shortest round trip of up to five. On a busy machine, or with a busy Postgres, a single
   * measurement can be wrong by hundreds of milliseconds.
   */
  async measure(db: Queryable): Promise<void> {
    let best = await measureOnce(db);
    for (let tries = 1; tries < MAX_TRIES && best.roundTripMs > GOOD_ROUND_TRIP_MS; tries += 1) {
      const next = await measureOnce(db);
      if (next.roundTripMs < best.roundTripMs) best = next;
    }
    if (this.#offsetMs !== undefined && best.roundTripMs > MAX_ROUND_TRIP_MS) return;
    // The machine's time before the first measurement says nothing about Postgres's clock.
    if (this.#offsetMs !== undefined) this.#latestBeforeMs = this.latest();
    this.#offsetMs = best.offsetMs;
  }
}

async function measureOnce(db: Queryable): Promise<{ readonly offsetMs: number; readonly roundTripMs: number }> {
  const startedAt = performance.now();
  const time = await readClock(db);
  const roundTripMs = performance.now() - startedAt;
  return { offsetMs: time - (startedAt + roundTripMs / 2), roundTripMs };
}

export type ClockWatchOptions = {
  readonly database: { readonly pool: Queryable; readonly clock: Clock };
  readonly log: Logger;
  readonly metrics: Registry;
};

const INTERVAL_MS = 10_000;
const WARN_BEYOND_MS = 2_000;
const WARN_EVERY_MS = 5 * 60_000;

/** Measures Postgres's time every 10 s. Warns every 5 minutes while this machine's clock differs by more than 2 s. */
export class ClockWatch extends Loop {
  readonly #options: ClockWatchOptions;
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor(options: ClockWatchOptions) {
    const { log } = options;
    super({ log, work: 'measuring the clock', retryMs: INTERVAL_MS, levelOf: failureLevel });
    this.#options = options;
    const { clock } = options.database;
    new Gauge({
      registers: [options.metrics],
      name: 'webhooks_clock_offset_seconds',
      aggregator: 'max',
      help: "The time of this machine minus Postgres's time",
      collect() {
        this.set((clock.machineAheadMs ?? 0) / 1_000);
      },
    });
  }

  protected async round(): Promise<number> {
    const { database, log } = this.#options;
    const { clock, pool } = database;
    await clock.measure(pool);
    const aheadMs = clock.machineAheadMs ?? 0;
    if (Math.abs(aheadMs) > WARN_BEYOND_MS && performance.now() - this.#warnedAt > WARN_EVERY_MS) {
      this.#warnedAt = performance.now();
      log.warn({ aheadMs }, "the clock of this machine differs from Postgres's clock; check that NTP is running");
    }
    return INTERVAL_MS;
  }
}
