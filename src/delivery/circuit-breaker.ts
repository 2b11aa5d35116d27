import type { Logger } from 'pino';
import type { Database } from '../database/client.ts';
import { closeCircuit } from '../database/close-circuit.ts';
import { countNotice } from '../database/count-notice.ts';
import { lockHealth } from '../database/lock-health.ts';
import { openCircuit } from '../database/open-circuit.ts';
import { recentAttempts } from '../database/recent-attempts.ts';
import { type Queryable, transaction } from '../database/transaction.ts';
import { isTransient } from '../database/transient-error.ts';
import { uuid7Floor } from '../database/uuid7.ts';
import type { DeliveryMessage } from '../events/delivery-message.ts';
import type { EventBus } from '../events/event-bus.ts';
import { publishOrWait } from '../events/publish-deliveries.ts';
import type { Attempt, DeactivationReason } from '../generated/prisma/client.ts';
import { pause } from '../pause.ts';
import {
  DEACTIVATE_AFTER_MS,
  FIRST_PROBE_MS,
  judge,
  MAX_IN_A_ROW,
  MAX_RECENT,
  RECENT_MS,
  type Verdict,
} from './circuit.ts';
import { deactivateSubscription } from './deactivate-subscription.ts';
import { Places } from './places.ts';
import type { SubscriptionCache } from './subscription-cache.ts';
import { recordSubscriptionEvent } from './subscription-events.ts';

export type CircuitBreakerOptions = {
  readonly database: Database;
  readonly bus: EventBus;
  readonly log: Logger;
  readonly subscriptions: SubscriptionCache;
};

/** A subscription that fails is judged so often, and in between after so many failures more. */
const JUDGE_INTERVAL_MS = 1_000;
const JUDGE_AFTER_FAILURES = 10;
/** Each needs a connection, which deliveries need more. */
const MAX_JUDGING = 2;
const RETRY_MS = 1_000;

/** A subscription with failures in the last second. */
type Failing = { unjudged: number; wake: AbortController };

/**
 * Opens and closes the circuits of subscriptions by what the delivery log says, so that all senders together see every
 * attempt and share one state. Subscriptions whose attempts succeed cost it nothing.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  readonly #places = new Places(MAX_JUDGING);
  readonly #stopping = new AbortController();
  readonly #failing = new Map<string, Failing>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: CircuitBreakerOptions) {
    this.#options = options;
  }

  /** To be told of what has been committed: the attempts, and the subscriptions that succeed after having failed. */
  observe(attempts: readonly Pick<Attempt, 'subscriptionId' | 'status'>[], recovering: readonly string[]): void {
    for (const id of recovering) this.#run(this.#tryTo(() => this.#recover(id), id));
    for (const { subscriptionId, status } of attempts) if (status === 'FAILURE') this.#countFailure(subscriptionId);
  }

  /** Switches a subscription off and tells its tenant. */
  async deactivate(subscriptionId: string, reason: DeactivationReason): Promise<void> {
    const { database, log, subscriptions } = this.#options;
    const messages = await transaction(database.pool, (db) => deactivateSubscription(db, { subscriptionId, reason }));
    subscriptions.forget(subscriptionId);
    if (messages === undefined) return;
    log.warn({ subscriptionId, reason }, 'a webhook subscription was deactivated');
    await publishOrWait(this.#options, messages);
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
      if (known.unjudged >= JUDGE_AFTER_FAILURES) known.wake.abort();
    }
  }

  async #watch(id: string, failing: Failing): Promise<void> {
    while (failing.unjudged > 0) {
      failing.unjudged = 0;
      failing.wake = new AbortController();
      await this.#tryTo(() => this.#judge(id), id);
      if (!this.#stopping.signal.aborted) await pause(JUDGE_INTERVAL_MS, failing.wake.signal);
    }
    this.#failing.delete(id);
  }

  /** While Postgres is away, again every second; what it refuses is left to the next attempt. */
  async #tryTo(work: () => Promise<void>, subscriptionId: string): Promise<void> {
    await this.#places.acquire(1, NEVER);
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
    const { verdict, messages } = await transaction(database.pool, (db) => judgeAndNote(db, id));
    // Later, in another transaction: it locks the subscription first, as everything else does.
    if (verdict.kind === 'deactivate') await this.deactivate(id, 'FAILING');
    if (verdict.kind === 'open') {
      subscriptions.forget(id);
      log.warn({ subscriptionId: id }, 'a circuit opened: the endpoint keeps failing, and only probes are sent');
    }
    await publishOrWait(this.#options, messages);
  }

  async #recover(id: string): Promise<void> {
    const { database, subscriptions, log } = this.#options;
    const messages = await transaction(database.pool, (db) => recover(db, id));
    if (messages === undefined) return;
    subscriptions.forget(id);
    log.info({ subscriptionId: id }, 'an endpoint recovered');
    await publishOrWait(this.#options, messages);
  }
}

const NEVER = new AbortController().signal;

type Judged = { readonly verdict: Verdict; readonly messages: readonly DeliveryMessage[] };

async function judgeAndNote(db: Queryable, subscriptionId: string): Promise<Judged> {
  const health = await lockHealth(db, subscriptionId);
  if (health === undefined) return { verdict: { kind: 'nothing' }, messages: [] };
  const now = Date.now();
  const closedAt = health.closedAt?.getTime() ?? 0;
  const attempts = await recentAttempts(db, {
    subscriptionId,
    // No failure of this row is older, so that Postgres has few partitions to look into.
    sinceId: uuid7Floor(Math.max(closedAt, health.failingSince.getTime())),
    maxInARow: MAX_IN_A_ROW,
    recentSinceId: uuid7Floor(Math.max(closedAt, now - RECENT_MS)),
    maxRecent: MAX_RECENT,
  });
  const verdict = judge({ ...health, ...attempts });
  if (verdict.kind === 'open') await openCircuit(db, { subscriptionId, probeInMs: FIRST_PROBE_MS });
  else if (verdict.kind === 'notice') await countNotice(db, { subscriptionId, noticeCount: verdict.noticeCount });
  else return { verdict, messages: [] };
  const { tenant, url } = health;
  // Null if a success now and then comes between.
  const failingSince = health.failingSince ?? new Date(now);
  const messages = await recordSubscriptionEvent(db, {
    ...{ tenant, subscriptionId, type: 'webhook_subscription.failing' },
    data: {
      ...{ url, failingSince },
      deactivationAt: new Date(failingSince.getTime() + DEACTIVATE_AFTER_MS),
      progressPercent: verdict.kind === 'open' ? 0 : Math.round(verdict.progress * 100),
    },
  });
  return { verdict, messages };
}

/** Undefined if it has not been failing. */
async function recover(db: Queryable, subscriptionId: string): Promise<DeliveryMessage[] | undefined> {
  const health = await lockHealth(db, subscriptionId);
  if (health?.failingSince == null) return undefined;
  await closeCircuit(db, subscriptionId);
  const { tenant, url, failingSince } = health;
  return recordSubscriptionEvent(db, {
    ...{ tenant, subscriptionId, type: 'webhook_subscription.recovered' },
    data: { url, failingSince },
  });
}
