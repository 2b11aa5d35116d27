import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';
import { groupBy } from '../../lib/collections.ts';
import { IdlePause, Loop } from '../../lib/loop.ts';
import { isNatsError } from '../../nats/refusal.ts';
import { type Database, type Queryable, transaction } from '../../postgres/client.ts';
import type { Clock } from '../../postgres/clock.ts';
import { failureLevel } from '../../postgres/errors.ts';
import { cancelPending } from './cancel.ts';
import { type DeliveryMessage, publishOrRequeue, toDeliveryMessage } from './message.ts';
import { changeAfter, planRelease, RECHECK_MS, type Release } from './release-plan.ts';
import {
  closeCircuit,
  type DueQueue,
  lockDueDeliveries,
  lockDueQueues,
  nextSweepInMs,
  resumeQueue,
  saveQueues,
} from './state.ts';
import { type DeliveryForPublishing, markPublished, requeueLost } from './store.ts';
import type { DeliveryStream } from './stream.ts';

type SweeperOptions = {
  readonly database: Database;
  readonly deliveries: DeliveryStream;
  readonly log: Logger;
  readonly metrics: Registry;
  /** Number of deliveries that this process's sender could attempt now if it had CPU time. */
  readonly waitingToBegin: () => number;
};

/** Milliseconds between rounds after NATS refused deliveries, and after an error. */
const REFUSED_MS = 1_000;
const FAILED_MS = 1_000;
/**
 * Maximum undelivered messages in JetStream and in this process's sender for a release: a new message is delivered after
 * all of them.
 */
const MAX_AHEAD = 256;
/** Minimum room for a release; a smaller one is not worth a round. */
const MIN_ROOM = 64;
/**
 * Milliseconds after the last release at which a round starts without this room: senders whose requests all hang must
 * not stop the sweeps.
 */
const MAX_RELEASE_GAP_MS = 250;
const NO_ROOM_MS = 20;
/** Milliseconds after a release in which rounds are frequent, and JetStream's undelivered messages are counted before each. */
const RELEASING_MS = 1_000;
/** Interval in milliseconds and batch size of the search for lost messages. */
const LOST_INTERVAL_MS = 10_000;
const LOST_LIMIT = 1_000;
/** Milliseconds by which the clocks of Postgres and nats-server may differ. Also the maximum duration of a publication. */
const LOST_SLACK_MS = 60_000;
/** Maximum subscriptions in one round. Each due subscription is processed once before any is processed again. */
const MAX_QUEUES = 50;
/** Bytes. Larger event data is read by the sender, because the messages of a round are held in memory. */
const MAX_DATA_BYTES = 32 * 1024;
/** Deliveries of inactive subscriptions that a round cancels, divided equally between these: others wait for its end. */
const CANCEL_LIMIT = 1_000;

/**
 * Publishes queued deliveries when they are due and their subscription has room for them, each time with a new message
 * id. Also requeues deliveries whose message JetStream has lost: DELIVERIES is a work queue, so no message that was
 * published before its oldest one is left.
 */
export class Sweeper extends Loop {
  readonly #options: SweeperOptions;
  readonly #metrics: SweeperMetrics;
  readonly #idlePause = new IdlePause();
  #lostCheckedAt = Number.NEGATIVE_INFINITY;
  #releasedAt = 0;
  /** Whether the last round found no due subscription. */
  #isIdle = false;

  constructor(options: SweeperOptions) {
    super({
      log: options.log,
      work: 'sweep',
      retryMs: FAILED_MS,
      levelOf: (error) => (isNatsError(error) ? 'debug' : failureLevel(error)),
    });
    this.#options = options;
    this.#metrics = createSweeperMetrics(options.metrics);
  }

  protected async round(): Promise<number> {
    return this.#options.deliveries.connected ? await this.#sweep() : this.#idlePause.ms;
  }

  /** Returns the pause before the next round: 0 if more subscriptions may be due than a round processes. */
  async #sweep(): Promise<number> {
    const { database, deliveries } = this.#options;
    if (performance.now() - this.#lostCheckedAt >= LOST_INTERVAL_MS) await this.#requeueLost();
    // Without due subscriptions a round is this one statement, which costs a third of a transaction.
    if (this.#isIdle) {
      const waitMs = this.#idlePause.before(await nextSweepInMs(database.pool));
      if (waitMs > 0) return waitMs;
    }
    const room = await this.#room();
    if (room < MIN_ROOM && performance.now() - this.#releasedAt < MAX_RELEASE_GAP_MS) return NO_ROOM_MS;
    const startedAt = performance.now();
    const { maxInlineDataBytes } = deliveries;
    const options = { room: Math.max(room, MIN_ROOM), maxInlineDataBytes, clock: database.clock };
    const { messages, isFull, isIdle } = await transaction(database.pool, (db) => releaseDue(db, options));
    this.#isIdle = isIdle;
    if (!isIdle) this.#idlePause.worked();
    if (messages.length > 0) this.#releasedAt = performance.now();
    const published = await publishOrRequeue(this.#options, messages, startedAt);
    this.#metrics.published.inc(published);
    if (published < messages.length) return REFUSED_MS;
    if (isFull) return 0;
    // Subscriptions with a backlog that were swept within this time are due again then.
    return this.#isReleasing ? RECHECK_MS : this.#idlePause.ms;
  }

  /** The number of deliveries that senders have room for. JetStream is asked only after a recent release. */
  async #room(): Promise<number> {
    const { deliveries, waitingToBegin } = this.#options;
    return MAX_AHEAD - waitingToBegin() - (this.#isReleasing ? await deliveries.undeliveredCount() : 0);
  }

  get #isReleasing(): boolean {
    return performance.now() - this.#releasedAt < RELEASING_MS;
  }

  async #requeueLost(): Promise<void> {
    const { database, deliveries, log } = this.#options;
    const oldest = await deliveries.oldestPublishedAt();
    const count = await requeueLost(database.pool, { oldest, slackMs: LOST_SLACK_MS, limit: LOST_LIMIT });
    this.#metrics.lost.inc(count);
    if (count > 0) log.warn({ count }, 'deliveries without a message requeued');
    // A full batch: the next round continues.
    if (count < LOST_LIMIT) this.#lostCheckedAt = performance.now();
  }
}

type Round = {
  readonly messages: readonly DeliveryMessage[];
  /** Whether more subscriptions may be due. */
  readonly isFull: boolean;
  /** Whether no subscription was due. */
  readonly isIdle: boolean;
};

type RoundOptions = {
  readonly room: number;
  readonly maxInlineDataBytes: number;
  readonly clock: Pick<Clock, 'now'>;
};

/**
 * Processes due subscriptions and returns the messages to publish after the commit: about `room`, divided equally between
 * the tenants.
 */
async function releaseDue(db: Queryable, { room, maxInlineDataBytes, clock }: RoundOptions): Promise<Round> {
  const queues = await lockDueQueues(db, MAX_QUEUES);
  if (queues.length === 0) return { messages: [], isFull: false, isIdle: true };
  for (const { subscriptionId, pausedForMs } of queues) {
    if (pausedForMs !== null && pausedForMs <= 0) await resumeQueue(db, subscriptionId);
  }
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
    const released = ids.get(queue.subscriptionId)?.length ?? 0;
    const change = changeAfter(queue, { release, released, random: Math.random() });
    return hasMore.has(queue.subscriptionId) ? { ...change, mustRecheck: true, recheckMs: RECHECK_MS } : change;
  });
  await saveQueues(db, changes);
  const messages = toMessages(pending, { releases, ids, now: clock.now() });
  return { messages, isFull: queues.length === MAX_QUEUES, isIdle: false };
}

/**
 * Cancels the remaining deliveries of subscriptions that were deactivated with a long backlog. Returns the ids of the
 * subscriptions that have more.
 */
async function cancelInactive(db: Queryable, queues: readonly DueQueue[]): Promise<Set<string>> {
  const hasMore = new Set<string>();
  const inactive = queues.filter(({ isActive }) => !isActive);
  const limit = Math.ceil(CANCEL_LIMIT / inactive.length);
  for (const { subscriptionId, probe } of inactive) {
    // An inactive subscription is not probed; if it is activated again, it starts with a closed circuit.
    if (probe !== null) await closeCircuit(db, subscriptionId);
    if (await cancelPending(db, { subscriptionId, limit })) hasMore.add(subscriptionId);
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
  return releases.flatMap(({ subscriptionId, isProbe, sendTimes }) =>
    (ids.get(subscriptionId) ?? []).flatMap((id, index) => {
      const delivery = byId.get(id);
      const sendAt =
        sendTimes === undefined ? undefined : Math.ceil(now + sendTimes.firstInMs + index * sendTimes.gapMs);
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
      registers: [metrics],
      name: 'webhooks_sweeper_published_total',
      help: 'Queued deliveries that the sweeper published, including retries after a long wait',
    }),
    lost: new Counter({
      registers: [metrics],
      name: 'webhooks_sweeper_lost_total',
      help: 'Deliveries that were requeued because JetStream had lost their message',
    }),
  };
}
