import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';
import { groupBy } from '../../lib/collections.ts';
import { Loop } from '../../lib/loop.ts';
import type { NatsClient } from '../../nats/connection.ts';
import { undeliveredCount } from '../../nats/metrics.ts';
import { type Database, type Queryable, transaction } from '../../postgres/client.ts';
import type { Clock } from '../../postgres/clock.ts';
import { isTransient } from '../../postgres/errors.ts';
import { cancelPending } from './cancel.ts';
import { type DeliveryMessage, oldestDeliveryMessage, publishOrRequeue, toDeliveryMessage } from './message.ts';
import { changeAfter, planRelease, RECHECK_MS, type Release } from './release-plan.ts';
import { closeCircuit, type DueQueue, lockDueDeliveries, lockDueQueues, saveQueues } from './state.ts';
import { type DeliveryForPublishing, markPublished, requeueLost } from './store.ts';

type SweeperOptions = {
  readonly database: Database;
  readonly bus: NatsClient;
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
    const room = await this.#room();
    if (room < MIN_ROOM && performance.now() - this.#releasedAt < MAX_PAUSE_MS) return NO_ROOM_MS;
    const startedAt = performance.now();
    const { maxInlineDataBytes } = bus;
    const options = { room: Math.max(room, MIN_ROOM), maxInlineDataBytes, clock: database.clock };
    const { messages, isFull } = await transaction(database.pool, (db) => releaseDue(db, options));
    if (messages.length > 0) this.#releasedAt = performance.now();
    const published = await publishOrRequeue(this.#options, messages, startedAt);
    this.#metrics.published.inc(published);
    if (published < messages.length) return REFUSED_MS;
    if (isFull) return 0;
    return messages.length > 0 ? RECHECK_MS : IDLE_MS;
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
    const count = await requeueLost(database.pool, { oldest, slackMs: LOST_SLACK_MS, limit: LOST_LIMIT });
    this.#metrics.lost.inc(count);
    if (count > 0) log.warn({ count }, 'deliveries had lost their message; they are published again when due');
    // If there are more, the next round goes on.
    if (count < LOST_LIMIT) this.#lostCheckedAt = performance.now();
  }
}

/** Subscriptions in one round, all of which are served before one comes up again. */
const MAX_QUEUES = 50;
/** Larger data is left to the sender to read: a round is held in memory. */
const MAX_DATA_BYTES = 32 * 1024;
const CANCEL_LIMIT = 1_000;

/** `isFull`: there may be more subscriptions that are due. */
type Round = { readonly messages: readonly DeliveryMessage[]; readonly isFull: boolean };

/**
 * Looks after the subscriptions that are due, tenants in turn, and returns the messages to publish once that is committed:
 * some `room` of them, the same for each tenant.
 */
async function releaseDue(
  db: Queryable,
  {
    room,
    maxInlineDataBytes,
    clock,
  }: { readonly room: number; readonly maxInlineDataBytes: number; readonly clock: Pick<Clock, 'now'> },
): Promise<Round> {
  const queues = await lockDueQueues(db, MAX_QUEUES);
  if (queues.length === 0) return { messages: [], isFull: false };
  const byTenant = groupBy(queues, ({ tenant }) => tenant);
  const plans = [...byTenant.values()].flatMap((ofTenant) => {
    const share = Math.ceil(room / byTenant.size / ofTenant.length);
    return ofTenant.map((queue) => ({ queue, release: planRelease(queue, share) }));
  });
  const releases = plans.map(({ release }) => release);
  const ids = await lockDueIds(db, releases);
  const allIds = [...ids.values()].flat();
  const maxDataBytes = Math.min(MAX_DATA_BYTES, maxInlineDataBytes);
  const pending = allIds.length === 0 ? [] : await markPublished(db, { ids: allIds, maxDataBytes });
  const hasMore = await cancelInactive(db, queues);
  const changes = plans.map(({ queue, release }) => {
    const change = changeAfter(queue, { release, released: ids.get(queue.subscriptionId)?.length ?? 0 });
    return { ...change, mustRecheck: change.mustRecheck || hasMore.has(queue.subscriptionId) };
  });
  await saveQueues(db, changes);
  return { messages: toMessages(pending, { releases, ids, now: clock.now() }), isFull: queues.length === MAX_QUEUES };
}

/** Cancels what is left of subscriptions that were switched off while they had many deliveries; returns those that have more. */
async function cancelInactive(db: Queryable, queues: readonly DueQueue[]): Promise<Set<string>> {
  const hasMore = new Set<string>();
  for (const { subscriptionId, isActive, probe } of queues) {
    if (isActive) continue;
    // Should it be activated again, it starts over; till then there is nothing to probe.
    if (probe !== null) await closeCircuit(db, subscriptionId);
    if (await cancelPending(db, { subscriptionId, limit: CANCEL_LIMIT })) hasMore.add(subscriptionId);
  }
  return hasMore;
}

async function lockDueIds(db: Queryable, releases: readonly Release[]): Promise<Map<string, string[]>> {
  const ids = new Map<string, string[]>(releases.map(({ subscriptionId }) => [subscriptionId, []]));
  for (const { id, subscriptionId } of await lockDueDeliveries(db, releases)) ids.get(subscriptionId)?.push(id);
  return ids;
}

type Released = {
  readonly releases: readonly Release[];
  readonly ids: ReadonlyMap<string, readonly string[]>;
  readonly now: number;
};

function toMessages(pending: readonly DeliveryForPublishing[], { releases, ids, now }: Released): DeliveryMessage[] {
  const byId = new Map(pending.map((delivery) => [delivery.deliveryId, delivery]));
  return releases.flatMap(({ subscriptionId, isProbe, pace }) =>
    (ids.get(subscriptionId) ?? []).flatMap((id, index) => {
      const delivery = byId.get(id);
      const sendAt = pace === undefined ? undefined : Math.ceil(now + pace.firstInMs + index * pace.gapMs);
      return delivery === undefined
        ? []
        : [toDeliveryMessage(delivery, { isProbe, sendAt, isFirst: delivery.enqueueCount === 1 })];
    }),
  );
}

type SweeperMetrics = { readonly published: Counter; readonly lost: Counter };

function createSweeperMetrics(metrics: Registry): SweeperMetrics {
  return {
    published: new Counter({
      ...{ registers: [metrics], name: 'webhooks_sweeper_published_total' },
      help: 'Deliveries that waited in Postgres and were published, a retry after a long wait among others',
    }),
    lost: new Counter({
      ...{ registers: [metrics], name: 'webhooks_sweeper_lost_total' },
      help: 'Deliveries that had lost their message, and were found again',
    }),
  };
}
