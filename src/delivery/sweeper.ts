import type { Logger } from 'pino';
import { cancelPending } from '../database/cancel-pending.ts';
import type { Database } from '../database/client.ts';
import { closeCircuit } from '../database/close-circuit.ts';
import { enqueueDeliveries } from '../database/enqueue-deliveries.ts';
import { lockDueDeliveries } from '../database/lock-due-deliveries.ts';
import { lockDueQueues } from '../database/lock-due-queues.ts';
import type { PendingDelivery } from '../database/pending-delivery.ts';
import { returnLostToWaiting } from '../database/return-lost-to-waiting.ts';
import { type QueueChange, saveQueues } from '../database/save-queues.ts';
import { type Queryable, transaction } from '../database/transaction.ts';
import { isTransient } from '../database/transient-error.ts';
import type { DeliveryMessage } from '../events/delivery-message.ts';
import type { EventBus } from '../events/event-bus.ts';
import { publishOrWait, toMessage } from '../events/publish-deliveries.ts';
import { pause } from '../pause.ts';
import { changeAfter, planRelease, RECHECK_MS, type Release } from './release-plan.ts';

export type SweeperOptions = { readonly database: Database; readonly bus: EventBus; readonly log: Logger };

const IDLE_MS = 250;
/** After a round in which NATS did not take everything. */
const REFUSED_MS = 1_000;
const FAILED_MS = 1_000;
/** Subscriptions in one round, all of which are served before one comes up again. */
const MAX_QUEUES = 50;
/** Deliveries in one round. Larger data is left to the sender to read: a round is held in memory. */
const MAX_RELEASED = 1_000;
const MAX_DATA_BYTES = 32 * 1024;
const CANCEL_LIMIT = 1_000;
const LOST_INTERVAL_MS = 10_000;
const LOST_LIMIT = 1_000;
/** Clocks of Postgres, nats-server and this machine may differ by this much, and publishing may take as long. */
const LOST_SLACK_MS = 60_000;

type Round = { readonly messages: readonly DeliveryMessage[]; readonly isFull: boolean };

/**
 * Publishes the deliveries that wait in Postgres when they are due and their subscription can take them, subscription
 * by subscription, each time under a new message id. And finds those whose message JetStream has lost: DELIVERIES is a
 * work queue, so no message published before its oldest one is left.
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
      let waitMs = IDLE_MS;
      try {
        if (bus.connected) waitMs = await this.#sweep();
      } catch (error) {
        // Postgres or NATS is away, which others log as well; the next sweep tries again. Anything else is a bug.
        if (isTransient(error)) log.debug({ err: error }, 'sweep failed');
        else {
          log.error({ err: error }, 'what waits in Postgres could not be looked after; trying again');
          waitMs = FAILED_MS;
        }
      }
      if (waitMs > 0) await pause(waitMs, signal);
    }
  }

  /** Returns how long to wait before the next round: not at all if there was more to do than one round does. */
  async #sweep(): Promise<number> {
    const { database, bus } = this.#options;
    if (Date.now() - this.#lostCheckedAt >= LOST_INTERVAL_MS) await this.#returnLost();
    const maxDataBytes = Math.min(MAX_DATA_BYTES, bus.maxInlineDataBytes);
    const { messages, isFull } = await transaction(database.pool, (db) => release(db, maxDataBytes));
    const published = await publishOrWait(this.#options, messages);
    if (published < messages.length) return REFUSED_MS;
    if (isFull) return 0;
    return messages.length > 0 ? RECHECK_MS : IDLE_MS;
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

/** Looks after the subscriptions that are due, and returns the messages to publish once that is committed. */
async function release(db: Queryable, maxDataBytes: number): Promise<Round> {
  const queues = await lockDueQueues(db, MAX_QUEUES);
  if (queues.length === 0) return { messages: [], isFull: false };
  const share = Math.ceil(MAX_RELEASED / queues.length);
  const releases = queues.map((queue) => planRelease(queue, share));
  const ids = await lockDueIds(db, releases);
  const allIds = [...ids.values()].flat();
  const pending = allIds.length === 0 ? [] : await enqueueDeliveries(db, { ids: allIds, maxDataBytes });
  const changes: QueueChange[] = [];
  for (const [index, queue] of queues.entries()) {
    const planned = releases[index];
    if (planned === undefined) continue;
    const { subscriptionId } = queue;
    const change = changeAfter(queue, { release: planned, released: ids.get(subscriptionId)?.length ?? 0 });
    // Should it be activated again, it starts over; till then there is nothing to probe.
    if (!queue.isActive && queue.probe !== null) await closeCircuit(db, subscriptionId);
    // What is left of a subscription that was deactivated or deleted while it had many deliveries.
    const mustCancelMore = !queue.isActive && (await cancelPending(db, { subscriptionId, limit: CANCEL_LIMIT }));
    changes.push({ ...change, mustRecheck: change.mustRecheck || mustCancelMore });
  }
  await saveQueues(db, changes);
  return { messages: toMessages(pending, { releases, ids }), isFull: queues.length === MAX_QUEUES };
}

async function lockDueIds(db: Queryable, releases: readonly Release[]): Promise<Map<string, string[]>> {
  const ids = new Map<string, string[]>(releases.map(({ subscriptionId }) => [subscriptionId, []]));
  for (const { id, subscriptionId } of await lockDueDeliveries(db, releases)) ids.get(subscriptionId)?.push(id);
  return ids;
}

type Released = { readonly releases: readonly Release[]; readonly ids: ReadonlyMap<string, readonly string[]> };

function toMessages(pending: readonly PendingDelivery[], { releases, ids }: Released): DeliveryMessage[] {
  const now = Date.now();
  const byId = new Map(pending.map((delivery) => [delivery.deliveryId, delivery]));
  return releases.flatMap(({ subscriptionId, isProbe, pace }) =>
    (ids.get(subscriptionId) ?? []).flatMap((id, index) => {
      const delivery = byId.get(id);
      const sendAt = pace === undefined ? undefined : Math.ceil(now + pace.firstInMs + index * pace.gapMs);
      return delivery === undefined ? [] : [toMessage(delivery, { isProbe, sendAt })];
    }),
  );
}
