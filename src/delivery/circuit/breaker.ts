import type { Logger } from 'pino';
import type { Attempt, DeactivationReason } from '../../generated/prisma/client.ts';
import { pause } from '../../lib/loop.ts';
import { WeightedSemaphore } from '../../lib/semaphore.ts';
import type { NatsClient } from '../../nats/connection.ts';
import { type Database, transaction } from '../../postgres/client.ts';
import { isTransient } from '../../postgres/errors.ts';
import type { SubscriptionCache } from '../../subscriptions/cache.ts';
import { publishOrRequeue } from '../queue/message.ts';
import { deactivateSubscription, evaluateSubscription, recoverSubscription } from './evaluate.ts';

export type CircuitBreakerOptions = {
  readonly database: Database;
  readonly bus: NatsClient;
  readonly log: Logger;
  readonly subscriptions: SubscriptionCache;
};

/** A subscription that fails is judged so often, and in between after so many failures more. */
const EVALUATION_INTERVAL_MS = 1_000;
const EVALUATE_AFTER_FAILURES = 10;
/** Each needs a connection, which deliveries need more. */
const MAX_CONCURRENT_EVALUATIONS = 2;
const RETRY_MS = 1_000;

/** A subscription with failures in the last second. */
type Failing = { unjudged: number; wake: AbortController };

/**
 * Opens and closes the circuits of subscriptions by what the delivery log says, so that all senders together see every
 * attempt and share one state. Subscriptions whose attempts succeed cost it nothing.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  readonly #places = new WeightedSemaphore(MAX_CONCURRENT_EVALUATIONS);
  readonly #stopping = new AbortController();
  readonly #failing = new Map<string, Failing>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: CircuitBreakerOptions) {
    this.#options = options;
  }

  /** To be told of what has been committed: the attempts, and the subscriptions that succeed although their circuit is open. */
  observe(attempts: readonly Pick<Attempt, 'subscriptionId' | 'status'>[], recovering: readonly string[]): void {
    for (const id of recovering) this.#run(this.#tryTo(() => this.#recover(id), id));
    for (const { subscriptionId, status } of attempts) if (status === 'FAILURE') this.#countFailure(subscriptionId);
  }

  /** Switches a subscription off whose endpoint says that it is gone. While Postgres is away, it waits for it. */
  deactivateGone(subscriptionId: string): Promise<void> {
    return this.#tryTo(() => this.#deactivate(subscriptionId, 'GONE'), subscriptionId);
  }

  async #deactivate(subscriptionId: string, reason: DeactivationReason): Promise<void> {
    const { database, log, subscriptions } = this.#options;
    const messages = await transaction(database.pool, (db) => deactivateSubscription(db, { subscriptionId, reason }));
    subscriptions.forget(subscriptionId);
    if (messages === undefined) return;
    log.warn({ subscriptionId, reason }, 'a webhook subscription was deactivated');
    await publishOrRequeue(this.#options, messages);
  }

  /** Judges what has not been judged, and resolves when that is done; nothing may be observed any more. */
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
      const failing = { unjudged: 1, wake: new AbortController() };
      this.#failing.set(id, failing);
      this.#run(this.#watch(id, failing));
    } else {
      known.unjudged += 1;
      if (known.unjudged >= EVALUATE_AFTER_FAILURES) known.wake.abort();
    }
  }

  async #watch(id: string, failing: Failing): Promise<void> {
    while (failing.unjudged > 0) {
      failing.unjudged = 0;
      failing.wake = new AbortController();
      await this.#tryTo(() => this.#judge(id), id);
      if (!this.#stopping.signal.aborted) await pause(EVALUATION_INTERVAL_MS, failing.wake.signal);
    }
    this.#failing.delete(id);
  }

  /** While Postgres is away, again every second; what it refuses is left to the next attempt. */
  async #tryTo(work: () => Promise<void>, subscriptionId: string): Promise<void> {
    await this.#places.acquire(1);
    for (let isOver = false; !isOver; ) {
      isOver = await work().then(
        () => true,
        async (error: unknown) => {
          this.#options.log.error({ err: error, subscriptionId }, 'the circuit of a subscription could not be judged');
          if (isTransient(error)) await pause(RETRY_MS, this.#stopping.signal);
          return !isTransient(error) || this.#stopping.signal.aborted;
        },
      );
    }
    this.#places.release(1);
  }

  async #judge(id: string): Promise<void> {
    const { database, subscriptions, log } = this.#options;
    const { verdict, messages } = await transaction(database.pool, (db) => evaluateSubscription(db, id));
    if (verdict.kind === 'open') {
      subscriptions.forget(id);
      log.warn({ subscriptionId: id }, 'a circuit opened: the endpoint keeps failing, and only probes are sent');
    }
    await publishOrRequeue(this.#options, messages);
    // Later, in another transaction: it locks the subscription first, as everything else does.
    if (verdict.kind === 'deactivate') await this.#deactivate(id, 'FAILING');
  }

  async #recover(id: string): Promise<void> {
    const { database, subscriptions, log } = this.#options;
    const messages = await transaction(database.pool, (db) => recoverSubscription(db, id));
    if (messages === undefined) return;
    subscriptions.forget(id);
    log.info({ subscriptionId: id }, 'an endpoint recovered');
    await publishOrRequeue(this.#options, messages);
  }
}
