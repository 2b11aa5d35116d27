import type { Logger } from 'pino';
import type { Attempt } from '../../generated/prisma/client.ts';
import { WeightedSemaphore } from '../../lib/semaphore.ts';
import { pause } from '../../lib/waiting.ts';
import { type Database, transaction } from '../../postgres/client.ts';
import { isTransient } from '../../postgres/errors.ts';
import type { SubscriptionCache } from '../../subscriptions/cache.ts';
import { publishEventMessages } from '../queue/message.ts';
import type { DeliveryStream } from '../queue/stream.ts';
import { deactivateSubscription, evaluateSubscription, recoverSubscription } from './evaluate.ts';
import type { Deactivation } from './store.ts';

export type CircuitBreakerOptions = {
  readonly database: Database;
  readonly deliveries: DeliveryStream;
  readonly log: Logger;
  readonly subscriptions: SubscriptionCache;
};

/** Milliseconds between two evaluations of a failing subscription. */
const EVALUATION_INTERVAL_MS = 1_000;
/** Number of failures that start the next evaluation before the interval ends. */
const EVALUATE_AFTER_FAILURES = 10;
/** Bounds the connections that evaluations take from the pool, which deliveries need. */
const MAX_CONCURRENT_EVALUATIONS = 2;
const RETRY_MS = 1_000;

/** A subscription with failures since its last evaluation, or with an evaluation within the last second. */
type Failing = { pendingFailures: number; wake: AbortController };

/**
 * Opens and closes the circuits of subscriptions according to the delivery log, which contains the attempts of all senders.
 * The state is shared in Postgres. Subscriptions whose attempts succeed are not evaluated.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  readonly #permits = new WeightedSemaphore(MAX_CONCURRENT_EVALUATIONS);
  readonly #stopping = new AbortController();
  readonly #failing = new Map<string, Failing>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: CircuitBreakerOptions) {
    this.#options = options;
  }

  /** Processes committed attempts. `recovering`: ids of subscriptions with an open circuit and a success since it opened. */
  observe(attempts: readonly Pick<Attempt, 'subscriptionId' | 'status'>[], recovering: readonly string[]): void {
    for (const id of recovering) this.#run(this.#withRetries(() => this.#recover(id), id));
    for (const { subscriptionId, status } of attempts) if (status === 'FAILURE') this.#countFailure(subscriptionId);
  }

  /** Deactivates a subscription whose URL was answered with 410. Retries while Postgres is unavailable. */
  deactivateGone(subscriptionId: string, url: string): Promise<void> {
    return this.#withRetries(() => this.#deactivate({ subscriptionId, reason: 'GONE', url }), subscriptionId);
  }

  async #deactivate(deactivation: Deactivation): Promise<void> {
    const { database, log, subscriptions } = this.#options;
    const { subscriptionId, reason } = deactivation;
    const messages = await transaction(database.pool, (db) => deactivateSubscription(db, deactivation));
    subscriptions.forget(subscriptionId);
    if (messages === undefined) return;
    log.warn({ subscriptionId, reason }, 'webhook subscription deactivated');
    await publishEventMessages(this.#options, messages);
  }

  /** Evaluates pending failures and resolves when all evaluations have ended. Do not call observe() after this. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const { wake } of this.#failing.values()) wake.abort();
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #run(work: Promise<void>): void {
    this.#running.add(work);
    void work.finally(() => this.#running.delete(work));
  }

  #countFailure(id: string): void {
    const known = this.#failing.get(id);
    if (known === undefined) {
      const failing = { pendingFailures: 1, wake: new AbortController() };
      this.#failing.set(id, failing);
      this.#run(this.#watch(id, failing));
    } else {
      known.pendingFailures += 1;
      if (known.pendingFailures >= EVALUATE_AFTER_FAILURES) known.wake.abort();
    }
  }

  async #watch(id: string, failing: Failing): Promise<void> {
    while (failing.pendingFailures > 0) {
      failing.pendingFailures = 0;
      failing.wake = new AbortController();
      await this.#withRetries(() => this.#evaluate(id), id);
      if (!this.#stopping.signal.aborted) await pause(EVALUATION_INTERVAL_MS, failing.wake.signal);
    }
    this.#failing.delete(id);
  }

  /** Retries after transient errors every second. After another error, the next failed attempt starts a new evaluation. */
  async #withRetries(work: () => Promise<void>, subscriptionId: string): Promise<void> {
    await this.#permits.acquire(1);
    let isOver = false;
    for (let failures = 0; !isOver; failures += 1) {
      isOver = await work().then(
        () => true,
        async (error: unknown) => {
          if (failures % 30 === 0) this.#options.log.error({ err: error, subscriptionId }, 'circuit evaluation failed');
          if (isTransient(error)) await pause(RETRY_MS, this.#stopping.signal);
          return !isTransient(error) || this.#stopping.signal.aborted;
        },
      );
    }
    this.#permits.release(1);
  }

  async #evaluate(id: string): Promise<void> {
    const { database, subscriptions, log } = this.#options;
    const { decision, messages } = await transaction(database.pool, (db) => evaluateSubscription(db, id));
    if (decision.kind === 'open') {
      subscriptions.forget(id);
      log.warn({ subscriptionId: id }, 'circuit opened; only probes are sent');
    }
    await publishEventMessages(this.#options, messages);
    // In a separate transaction, which can lock the subscription before its state (see the lock order in queue/store.ts).
    if (decision.kind === 'deactivate') await this.#deactivate({ subscriptionId: id, reason: 'FAILING' });
  }

  async #recover(id: string): Promise<void> {
    const { database, subscriptions, log } = this.#options;
    const messages = await transaction(database.pool, (db) => recoverSubscription(db, id));
    if (messages === undefined) return;
    subscriptions.forget(id);
    log.info({ subscriptionId: id }, 'circuit closed: the endpoint recovered');
    await publishEventMessages(this.#options, messages);
  }
}
