import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { Loop } from '../lib/loop.ts';
import type { Queryable } from './client.ts';
import { readClock } from './connection.ts';

/** A measurement is wrong by half of its round trip at most. One within this time, in milliseconds, needs no second try. */
const GOOD_ROUND_TRIP_MS = 5;
/** Later measurements with a longer round trip, in milliseconds, are dropped: machine clocks drift less than that in minutes. */
const MAX_ROUND_TRIP_MS = 100;
const MAX_TRIES = 5;

/**
 * Postgres's time, which all processes share: ids, times in the log and comparisons with times in the database use it,
 * never the clock of this machine. Between measurements it goes on with the monotonic clock, so a machine whose clock is
 * wrong or jumps changes nothing. (Due times are better still: `now()` and a delay, in the statement.) Until the first
 * measurement it is the machine's own time.
 */
export class Clock {
  /** Postgres's time minus performance.now(). */
  #offsetMs: number | undefined;

  /** Milliseconds since 1970, whole. */
  now(): number {
    return this.#offsetMs === undefined ? Date.now() : Math.round(performance.now() + this.#offsetMs);
  }

  /** How far the clock of this machine is ahead of Postgres's, in milliseconds; undefined until the first measurement. */
  get machineAheadMs(): number | undefined {
    return this.#offsetMs === undefined ? undefined : Date.now() - this.now();
  }

  /** Takes the best of a few tries: on a busy machine, or with a busy Postgres, a single one can be wrong by hundreds of milliseconds. */
  async measure(db: Queryable): Promise<void> {
    let best = await measureOnce(db);
    for (let tries = 1; tries < MAX_TRIES && best.roundTripMs > GOOD_ROUND_TRIP_MS; tries += 1) {
      const next = await measureOnce(db);
      if (next.roundTripMs < best.roundTripMs) best = next;
    }
    if (this.#offsetMs !== undefined && best.roundTripMs > MAX_ROUND_TRIP_MS) return;
    this.#offsetMs = best.offsetMs;
  }
}

async function measureOnce(db: Queryable): Promise<{ readonly offsetMs: number; readonly roundTripMs: number }> {
  const begun = performance.now();
  const time = await readClock(db);
  const roundTripMs = performance.now() - begun;
  return { offsetMs: time - (begun + roundTripMs / 2), roundTripMs };
}

export type ClockWatchOptions = {
  readonly database: { readonly pool: Queryable; readonly clock: Clock };
  readonly log: Logger;
  readonly metrics: Registry;
};

const INTERVAL_MS = 10_000;
const WARN_BEYOND_MS = 2_000;
const WARN_EVERY_MS = 5 * 60_000;

/** Measures the clock every 10 s, and warns every five minutes while this machine's differs by more than 2 s. */
export class ClockWatch extends Loop {
  readonly #options: ClockWatchOptions;
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor(options: ClockWatchOptions) {
    const { log } = options;
    super({ log, work: 'measuring the clock', retryMs: INTERVAL_MS, isExpected: () => true });
    this.#options = options;
    const { clock } = options.database;
    new Gauge({
      registers: [options.metrics],
      name: 'webhooks_clock_offset_seconds',
      aggregator: 'max',
      help: "How far the clock of this machine is ahead of Postgres's",
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
      log.warn({ aheadMs }, "the clock of this machine differs from Postgres's; is NTP running?");
    }
    return INTERVAL_MS;
  }
}
