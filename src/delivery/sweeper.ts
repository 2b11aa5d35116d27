import type { Logger } from 'pino';
import { claimDueDeliveries } from '../database/claim-due-deliveries.ts';
import type { Database } from '../database/client.ts';
import { returnLostToWaiting } from '../database/return-to-waiting.ts';
import type { EventBus } from '../events/event-bus.ts';
import { publishOrWait, toMessage } from '../events/publish-deliveries.ts';
import { pause } from '../pause.ts';

export type SweeperOptions = { readonly database: Database; readonly bus: EventBus; readonly log: Logger };

const INTERVAL_MS = 500;
const LIMIT = 200;
const LOST_INTERVAL_MS = 10_000;
const LOST_LIMIT = 1_000;
/** Clocks of Postgres, nats-server and this machine may differ by this much, and publishing may take as long. */
const LOST_SLACK_MS = 60_000;

/**
 * Publishes the deliveries that wait in Postgres when they are due, each time under a new message id. And finds those
 * whose message JetStream has lost: DELIVERIES is a work queue, so no message published before its oldest one is left.
 */
export class Sweeper {
  readonly #options: SweeperOptions;
  readonly #stopping = new AbortController();
  #lostCheckedAt = 0;
  #running: Promise<void> | undefined;

  constructor(options: SweeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { bus, log } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      let published = 0;
      try {
        if (bus.connected) published = await this.#sweep();
      } catch (error) {
        // Postgres or NATS is away, which others log as well; the next sweep tries again.
        log.debug({ err: error }, 'sweep failed');
      }
      if (published < LIMIT) await pause(INTERVAL_MS, signal);
    }
  }

  /** Returns how many deliveries were published: a full round means that there are more, a refused one that it is no time for them. */
  async #sweep(): Promise<number> {
    const { database, bus } = this.#options;
    if (Date.now() - this.#lostCheckedAt >= LOST_INTERVAL_MS) await this.#returnLost();
    const due = await claimDueDeliveries(database.pool, { limit: LIMIT, maxDataBytes: bus.maxInlineDataBytes });
    return publishOrWait(
      this.#options,
      due.map((delivery) => toMessage(delivery, true)),
    );
  }

  async #returnLost(): Promise<void> {
    const { database, bus, log } = this.#options;
    const oldest = (await bus.oldestDeliveryMessage())?.getTime() ?? Number.POSITIVE_INFINITY;
    const horizon = new Date(Math.min(oldest, Date.now()) - LOST_SLACK_MS);
    const count = await returnLostToWaiting(database.pool, { horizon, limit: LOST_LIMIT });
    if (count > 0) log.warn({ count }, 'deliveries had lost their message; they are published again when due');
    this.#lostCheckedAt = Date.now();
  }
}
