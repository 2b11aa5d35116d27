import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import { cancelDelivery } from '../database/cancel-delivery.ts';
import type { Database } from '../database/client.ts';
import { leaseDelivery } from '../database/lease-delivery.ts';
import { loadEventData } from '../database/load-event-data.ts';
import { postponeDelivery } from '../database/postpone-delivery.ts';
import { returnToWaiting } from '../database/return-to-waiting.ts';
import { isTransient } from '../database/transient-error.ts';
import { type DeliveryMessage, decodeDeliveryMessage } from '../events/delivery-message.ts';
import type { EventBus } from '../events/event-bus.ts';
import type { StreamMessage } from '../events/stream-message.ts';
import { makeAttempt, type UnwrittenAttempt } from './attempt.ts';
import { type Decision, decide } from './decide.ts';
import type { EgressAgents } from './egress-agents.ts';
import { logAttempt } from './log-attempt.ts';
import { ResultWriter } from './result-writer.ts';
import { Semaphore } from './semaphore.ts';
import { MAX_SHORT_WAIT_MS, ShortWaits } from './short-waits.ts';
import { type SenderSubscription, type SubscriptionCache, UnusableSubscriptionError } from './subscription-cache.ts';

export type SenderOptions = {
  readonly database: Database;
  readonly bus: EventBus;
  readonly log: Logger;
  readonly agents: EgressAgents;
  readonly subscriptions: SubscriptionCache;
  readonly retryScheduleMs: readonly number[];
  readonly userAgent: string;
};

type AttemptTask = {
  readonly delivery: DeliveryMessage;
  readonly subscription: SenderSubscription;
  readonly number: number;
};

const MAX_IN_FLIGHT = 200;
/**
 * How many messages are asked for ahead. Fewer than there are slots, so that one generation of attempts (30 s at most)
 * lets all of them through: their ack wait runs while they are buffered, and nobody extends it.
 */
const MAX_BUFFERED = 50;
/** How much longer than an attempt its lease lasts: time to record it. After a crash, others wait for so long. */
const LEASE_MARGIN_MS = 10_000;
/** JetStream redelivers what was not acked for 60 s; it is told three times as often that we are still at it. */
const WORKING_INTERVAL_MS = 20_000;
/** How long stop() lets attempts finish before it gives them up. */
const STOP_MS = 20_000;
/** After an error of our surroundings (Postgres is away) a message is taken up again this much later. */
const TROUBLE_MS = 5_000;
/** After an error that is not of our surroundings. */
const POSTPONE_MS = 600_000;

/**
 * Makes the attempts. A message is acked only when its attempt is committed to Postgres, so a crash in between means
 * one request more, never one less. A message that may not be the only one of its delivery is checked against
 * Postgres, which knows the attempt's number, and takes a lease there before anything is sent.
 */
export class Sender {
  readonly #options: SenderOptions;
  readonly #stopTaking = new AbortController();
  readonly #stopWorking = new AbortController();
  readonly #slots = new Semaphore(MAX_IN_FLIGHT);
  readonly #waits = new ShortWaits();
  readonly #results: ResultWriter;
  /** What is being handled, by delivery. */
  readonly #inFlight = new Map<string, { readonly message: StreamMessage; readonly done: Promise<void> }>();
  #running: Promise<void> | undefined;

  constructor(options: SenderOptions) {
    this.#options = options;
    // Every attempt in flight listens to it.
    setMaxListeners(MAX_IN_FLIGHT + 1, this.#stopWorking.signal);
    const { database, bus, log } = options;
    this.#results = new ResultWriter({ database, bus, log, signal: this.#stopWorking.signal });
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Takes no more messages, lets running attempts finish for up to 20 s, and hands back what is left. */
  async stop(): Promise<void> {
    this.#stopTaking.abort();
    const giveUp = setTimeout(() => {
      this.#stopWorking.abort();
    }, STOP_MS);
    await this.#running;
    clearTimeout(giveUp);
  }

  async #run(): Promise<void> {
    const extend = setInterval(() => {
      for (const { message } of this.#inFlight.values()) message.working();
    }, WORKING_INTERVAL_MS);
    await this.#options.bus.consume({
      durable: 'sender',
      maxMessages: MAX_BUFFERED,
      signal: this.#stopTaking.signal,
      onMessage: (message) => this.#take(message),
    });
    await Promise.all([...this.#inFlight.values()].map(({ done }) => done));
    this.#waits.flush();
    clearInterval(extend);
  }

  async #take(message: StreamMessage): Promise<void> {
    const delivery = this.#decode(message);
    if (delivery === undefined) return;
    await this.#slots.acquire(this.#stopTaking.signal);
    if (this.#stopTaking.signal.aborted) {
      message.nak();
      return;
    }
    if (this.#inFlight.has(delivery.deliveryId)) {
      // A second message of a delivery that is being attempted here: look again when that is over.
      this.#waits.nakUntil(message, Date.now() + TROUBLE_MS);
      this.#slots.release();
      return;
    }
    const done = this.#handle(message, delivery).finally(() => {
      this.#inFlight.delete(delivery.deliveryId);
      this.#slots.release();
    });
    this.#inFlight.set(delivery.deliveryId, { message, done });
  }

  #decode(message: StreamMessage): DeliveryMessage | undefined {
    try {
      return decodeDeliveryMessage(message.data);
    } catch (error) {
      this.#options.log.error({ err: error }, 'a message that is no delivery was dropped from DELIVERIES');
      message.term();
      return undefined;
    }
  }

  async #handle(message: StreamMessage, delivery: DeliveryMessage): Promise<void> {
    const { database, subscriptions, log } = this.#options;
    const { deliveryId } = delivery;
    try {
      const subscription = await subscriptions.get(delivery.subscriptionId, delivery.subscriptionVersion);
      if (subscription?.isActive !== true) {
        await cancelDelivery(database.pool, deliveryId);
        message.ack();
        return;
      }
      const number = await this.#attemptNumber(message, {
        delivery,
        leaseMs: subscription.timeoutMs + LEASE_MARGIN_MS,
      });
      if (number !== undefined) await this.#attempt(message, { delivery, subscription, number });
    } catch (error) {
      if (isTransient(error) && !(error instanceof UnusableSubscriptionError)) {
        log.error({ err: error, deliveryId }, 'a delivery could not be attempted; trying again');
        this.#waits.nakUntil(message, Date.now() + TROUBLE_MS);
      } else {
        await this.#postpone(message, { deliveryId, error });
      }
    }
  }

  /** Nothing that trying again soon would mend, such as a secret that cannot be read: it must not hold up others. */
  async #postpone(
    message: StreamMessage,
    { deliveryId, error }: { deliveryId: string; error: unknown },
  ): Promise<void> {
    const { database, log } = this.#options;
    log.error({ err: error, deliveryId }, 'a delivery cannot be attempted; trying again in ten minutes');
    try {
      await postponeDelivery(database.pool, { deliveryId, waitMs: POSTPONE_MS });
      message.ack();
    } catch {
      this.#waits.nakUntil(message, Date.now() + TROUBLE_MS);
    }
  }

  /** The number of the attempt to make now; undefined if none is, and the message has been dealt with. */
  async #attemptNumber(
    message: StreamMessage,
    { delivery, leaseMs }: { readonly delivery: DeliveryMessage; readonly leaseMs: number },
  ): Promise<number | undefined> {
    const { mayBeDuplicate, enqueueCount } = delivery;
    if (!mayBeDuplicate && enqueueCount === 1 && this.#options.bus.isFirstDelivery(message)) return 1;
    const { deliveryId } = delivery;
    const lease = await leaseDelivery(this.#options.database.pool, { deliveryId, leaseMs });
    switch (lease.kind) {
      case 'leased':
        return lease.attemptCount + 1;
      case 'over':
        message.ack();
        return undefined;
      case 'not yet':
        await this.#wait(message, { deliveryId, dueAt: Date.now() + lease.waitMs });
        return undefined;
    }
  }

  /** A broker that crashed forgets delays: what comes too early waits again. */
  async #wait(message: StreamMessage, { deliveryId, dueAt }: { deliveryId: string; dueAt: number }): Promise<void> {
    if (dueAt - Date.now() <= MAX_SHORT_WAIT_MS) {
      this.#waits.nakUntil(message, dueAt);
    } else {
      await returnToWaiting(this.#options.database.pool, [deliveryId]);
      message.ack();
    }
  }

  async #attempt(message: StreamMessage, task: AttemptTask): Promise<void> {
    const { database, agents, userAgent, retryScheduleMs } = this.#options;
    const { delivery, subscription, number } = task;
    const data = delivery.data ?? (await loadEventData(database.pool, delivery.deliveryId));
    const { signal } = this.#stopWorking;
    const { outcome, attempt } = await makeAttempt(agents, {
      delivery: { ...delivery, data },
      subscription,
      number,
      userAgent,
      signal,
    });
    if (signal.aborted && outcome.kind === 'failure') {
      // Given up by us: that says nothing about the receiver.
      message.nak();
      return;
    }
    const decision = decide({ outcome, attemptNumber: number, retryScheduleMs, random: Math.random() });
    await this.#record(message, { attempt, decision });
  }

  async #record(
    message: StreamMessage,
    { attempt, decision }: { readonly attempt: UnwrittenAttempt; readonly decision: Decision },
  ): Promise<void> {
    const now = Date.now();
    const dueAt = decision.kind === 'retry' ? now + decision.delayMs : undefined;
    const staysEnqueued = dueAt !== undefined && this.#waits.reserve(dueAt, now);
    await this.#results.write({
      attempt,
      status: dueAt !== undefined ? 'PENDING' : attempt.status,
      nextAttemptAt: dueAt === undefined ? null : new Date(dueAt),
      waitingFor: dueAt === undefined ? null : 'BACKOFF',
      staysEnqueued,
    });
    if (dueAt !== undefined && staysEnqueued) this.#waits.nakUntil(message, dueAt);
    else message.ack();
    logAttempt(this.#options.log, { attempt, decision });
  }
}
