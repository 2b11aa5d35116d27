import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Database } from '../../postgres/client.ts';
import { isTransient } from '../../postgres/errors.ts';
import { returnLostToWaiting } from './return-lost-to-waiting.ts';
import { transaction } from '../../postgres/transaction.ts';
import type { EventBus } from '../../nats/event-bus.ts';
import { oldestDeliveryMessage } from './oldest-delivery-message.ts';
import { publishOrWait } from './publish-deliveries.ts';
import { undeliveredCount } from '../../nats/stream-depth.ts';
import { Loop } from '../../lib/loop.ts';
import { releaseDue } from './release-due.ts';
import { RECHECK_MS } from './release-plan.ts';
import { recordOmittedEvent } from '../circuit/subscription-events.ts';
import { createSweeperMetrics, type SweeperMetrics } from './sweeper-metrics.ts';

export type SweeperOptions = {
  readonly database: Database;
  readonly bus: EventBus;
  readonly log: Logger;
  readonly metrics: Registry;
  /** Deliveries that the sender of this process could attempt now if the processor had time. */
  readonly waitingToBegin: () => number;
};

const IDLE_MS = 250;
/** After a round in which NATS did not take everything. */
const REFUSED_MS = 1_000;
const FAILED_MS = 1_000;
/** With so many waiting in JetStream, and in this process's sender, nothing is released: a message there overtakes no other. */
const MAX_AHEAD = 256;
/** Less than this is not worth a round, unless there was none for so long: senders that all hang must not stop the sweeps. */
const MIN_ROOM = 64;
const MAX_PAUSE_MS = 250;
const NO_ROOM_MS = 20;
const BUSY_MS = 1_000;
const LOST_INTERVAL_MS = 10_000;
const LOST_LIMIT = 1_000;
/** How often notices are looked for that were too many within a minute. */
const NOTICES_INTERVAL_MS = 5_000;
/** The clocks of Postgres and nats-server may differ by this much, and publishing may take as long. */
const LOST_SLACK_MS = 60_000;

/**
 * Publishes the deliveries that wait in Postgres when they are due and their subscription can take them, subscription
 * by subscription, each time under a new message id. And finds those whose message JetStream has lost: DELIVERIES is a
 * work queue, so no message published before its oldest one is left.
 */
export class Sweeper extends Loop {
  readonly #options: SweeperOptions;
  readonly #metrics: SweeperMetrics;
  #lostCheckedAt = Number.NEGATIVE_INFINITY;
  #noticesCheckedAt = Number.NEGATIVE_INFINITY;
  #releasedAt = 0;

  constructor(options: SweeperOptions) {
    super();
    this.#options = options;
    this.#metrics = createSweeperMetrics(options.metrics);
  }

  protected async round(): Promise<number> {
    const { bus, log } = this.#options;
    try {
      return bus.connected ? await this.#sweep() : IDLE_MS;
    } catch (error) {
      // Postgres or NATS is away, which others log as well; the next sweep tries again. Anything else is a bug.
      if (isTransient(error)) {
        log.debug({ err: error }, 'sweep failed');
        return IDLE_MS;
      }
      log.error({ err: error }, 'what waits in Postgres could not be looked after; trying again');
      return FAILED_MS;
    }
  }

  /** Returns how long to wait before the next round: not at all if there was more to do than one round does. */
  async #sweep(): Promise<number> {
    const { database, bus } = this.#options;
    if (performance.now() - this.#lostCheckedAt >= LOST_INTERVAL_MS) await this.#returnLost();
    if (performance.now() - this.#noticesCheckedAt >= NOTICES_INTERVAL_MS) await this.#sendOmittedNotice();
    const room = await this.#room();
    if (room < MIN_ROOM && performance.now() - this.#releasedAt < MAX_PAUSE_MS) return NO_ROOM_MS;
    const startedAt = performance.now();
    const { maxInlineDataBytes } = bus;
    const options = { room: Math.max(room, MIN_ROOM), maxInlineDataBytes, clock: database.clock };
    const { messages, isFull } = await transaction(database.pool, (db) => releaseDue(db, options));
    if (messages.length > 0) this.#releasedAt = performance.now();
    const published = await publishOrWait(this.#options, messages, startedAt);
    this.#metrics.published.inc(published);
    if (published < messages.length) return REFUSED_MS;
    if (isFull) return 0;
    return messages.length > 0 ? RECHECK_MS : IDLE_MS;
  }

  /** One at a time: those of the next tenant in the next round. */
  async #sendOmittedNotice(): Promise<void> {
    const messages = await transaction(this.#options.database.pool, recordOmittedEvent);
    // If there are more, the next round goes on.
    if (messages === undefined) this.#noticesCheckedAt = performance.now();
    else await publishOrWait(this.#options, messages);
  }

  /** How many deliveries the senders ask for. Where nothing was released, JetStream is not asked. */
  async #room(): Promise<number> {
    const { bus, waitingToBegin } = this.#options;
    const isBusy = performance.now() - this.#releasedAt < BUSY_MS;
    return MAX_AHEAD - waitingToBegin() - (isBusy ? await undeliveredCount(bus) : 0);
  }

  async #returnLost(): Promise<void> {
    const { database, bus, log } = this.#options;
    const oldest = await oldestDeliveryMessage(bus);
    const count = await returnLostToWaiting(database.pool, { oldest, slackMs: LOST_SLACK_MS, limit: LOST_LIMIT });
    this.#metrics.lost.inc(count);
    if (count > 0) log.warn({ count }, 'deliveries had lost their message; they are published again when due');
    // If there are more, the next round goes on.
    if (count < LOST_LIMIT) this.#lostCheckedAt = performance.now();
  }
}
