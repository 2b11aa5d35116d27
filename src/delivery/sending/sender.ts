import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { ChangeSignal, WeightedSemaphore } from '../../lib/semaphore.ts';
import { type Queueable, TenantQueue } from '../../lib/tenant-queue.ts';
import type { Tracing } from '../../lib/tracing.ts';
import type { JetStreamMessage, NatsClient } from '../../nats/connection.ts';
import { createMessageCount } from '../../nats/metrics.ts';
import type { Database } from '../../postgres/client.ts';
import type { SubscriptionCache } from '../../subscriptions/cache.ts';
import { CircuitBreaker } from '../circuit/breaker.ts';
import type { EgressAgents } from '../http/agents.ts';
import { postWithStaleConnectionRetry } from '../http/request.ts';
import type { Cancellations } from '../queue/cancel.ts';
import type { DeliveryEnvelope } from '../queue/message.ts';
import type { DeliveryStream } from '../queue/stream.ts';
import type { LogAttempts } from './attempt-metrics.ts';
import { createDeliveryStatements } from './delivery-statements.ts';
import { type Disposition, type HandlerDeps, handleDelivery, nakAfterInfraRetry } from './handle-delivery.ts';
import { DelayedNaks, type RedeliveryGuard } from './redelivery.ts';
import { authenticateRequest } from './request-auth.ts';
import { type AttemptAnnouncer, ResultWriter } from './result-writer.ts';
import type { SenderPeers } from './sender-peers.ts';
import { StartLimiter } from './start-limiter.ts';
import { SubscriptionLimiter } from './subscription-limiter.ts';

/** Maximum permits in use per process. Together with PERMIT_BYTES it bounds the data of deliveries in flight to 64 MiB. */
const MAX_IN_FLIGHT = 1_000;
/** Bytes of data for which a delivery takes one permit. */
const PERMIT_BYTES = 64 * 1024;
/** Permits of a delivery whose data, up to 1 MiB, is read from Postgres. */
const LARGE_PERMITS = 16;
/** Maximum messages queued in memory, for round-robin by tenant: JetStream delivers a stream in order. */
const LOOK_AHEAD = { maxItems: 8_000, maxBytes: 32 * 1024 * 1024 } as const;
const ONE = { items: 1, deliveries: 1, bytes: 1 } as const;
/** Maximum messages requested at a time. */
const MAX_BUFFERED = 100;
/** Age at which a message's ack deadline is extended: a third of the consumer's ack_wait (60 s). */
const EXTEND_AFTER_MS = 20_000;
/** Checks for such messages until one has this age. */
const EXTEND_CHECKS = 4;
/** Milliseconds after which stop() aborts running attempts. */
const STOP_MS = 20_000;

type SenderOptions = {
  readonly database: Database;
  readonly nats: NatsClient;
  readonly deliveries: DeliveryStream;
  readonly feed: AttemptAnnouncer;
  readonly redeliveryGuard: RedeliveryGuard;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly agents: EgressAgents;
  readonly peers: Pick<SenderPeers, 'shareOf'>;
  readonly subscriptions: SubscriptionCache;
  readonly cancellations: Cancellations;
  readonly retryScheduleMs: readonly number[];
  readonly userAgent: string;
  readonly logAttempts: LogAttempts;
  readonly tracing: Tracing | undefined;
  /** Whether receivers get the header `traceparent`, if there is a trace. */
  readonly sendsTraceParent: boolean;
  /** Maximum permits in use. Default: 1,000. */
  readonly maxInFlight?: number | undefined;
  /** Age at which a message's ack deadline is extended, in milliseconds. Default: 20,000. */
  readonly extendAfterMs?: number | undefined;
};

/** `extendedAt`: time at which JetStream delivered the message or its ack deadline was last extended (performance.now()). */
type TakenMessage = Queueable & {
  readonly message: JetStreamMessage;
  readonly delivery: DeliveryEnvelope;
  extendedAt: number;
};

/**
 * Sends the deliveries. A message is acked only when the result of its attempt is committed to Postgres, or its delivery is
 * queued there, so a crash in between can cause an additional request but never a missing one. A message that may not be the
 * only one of its delivery needs a lease from Postgres before a request is sent.
 */
export class Sender {
  readonly #options: SenderOptions;
  readonly #stopTaking = new AbortController();
  readonly #stopWorking = new AbortController();
  readonly #permits: WeightedSemaphore;
  readonly #extendAfterMs: number;
  readonly #starts = new StartLimiter();
  readonly #delayedNaks: DelayedNaks;
  readonly #circuits: CircuitBreaker;
  readonly #results: ResultWriter;
  readonly #deps: HandlerDeps;
  readonly #count: (message: JetStreamMessage) => void;
  readonly #intake = new TenantQueue<TakenMessage>(LOOK_AHEAD);
  /** Notified when the intake changes and when the sender stops. */
  readonly #changed = new ChangeSignal();
  /** By delivery id. */
  readonly #inFlight = new Map<string, { readonly taken: TakenMessage; readonly done: Promise<void> }>();
  #running: Promise<void> | undefined;

  constructor(options: SenderOptions) {
    this.#options = options;
    const {
      database,
      deliveries,
      feed,
      log,
      metrics,
      agents,
      peers,
      subscriptions,
      maxInFlight = MAX_IN_FLIGHT,
      extendAfterMs = EXTEND_AFTER_MS,
    } = options;
    this.#extendAfterMs = extendAfterMs;
    this.#permits = new WeightedSemaphore(maxInFlight);
    const [stopTaking, stopWorking] = [this.#stopTaking.signal, this.#stopWorking.signal];
    // Every delivery in flight may add a listener, and so do the consumer and the wait for a permit.
    setMaxListeners(maxInFlight + 10, stopTaking, stopWorking);
    this.#delayedNaks = new DelayedNaks((message, delayMs) => {
      this.#respond(message, { kind: 'nak', delayMs });
    });
    this.#circuits = new CircuitBreaker({ database, deliveries, log, subscriptions });
    const limiter = new SubscriptionLimiter(this.#permits, {
      shareOf: (limit) => peers.shareOf(limit),
      onWait: () => {
        this.#results.flush();
      },
    });
    this.#results = new ResultWriter({
      database,
      feed,
      log,
      metrics,
      circuits: this.#circuits,
      signal: stopWorking,
      isUrgent: () => limiter.isContended || this.#permits.isContended || stopTaking.aborted,
    });
    createGauges(metrics, { limiter, permits: this.#permits });
    this.#count = createMessageCount(metrics, 'sender');
    this.#deps = {
      subscriptions,
      statements: createDeliveryStatements(database),
      limiter,
      starts: this.#starts,
      delayedNaks: this.#delayedNaks,
      cancellations: options.cancellations,
      redeliveryGuard: options.redeliveryGuard,
      results: this.#results,
      circuits: this.#circuits,
      authenticate: authenticateRequest,
      post: (request) => postWithStaleConnectionRetry(agents, request),
      userAgent: options.userAgent,
      retryScheduleMs: options.retryScheduleMs,
      clock: database.clock,
      random: Math.random,
      log,
      logAttempts: options.logAttempts,
      tracing: options.tracing,
      sendsTraceParent: options.sendsTraceParent,
      stopTaking,
      stopWorking,
    };
  }

  /** Number of deliveries that wait only for the processor or for a permit. */
  get waiting(): number {
    return this.#starts.waiting + this.#intake.size;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Stops taking messages, waits up to 20 s for running attempts, and naks the remaining messages. */
  async stop(): Promise<void> {
    this.#stopTaking.abort();
    this.#results.flush();
    // Ends the wait of a consumer that is blocked by a full intake.
    this.#changed.notify();
    const timer = setTimeout(() => {
      this.#stopWorking.abort();
    }, STOP_MS);
    await this.#running;
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    const extend = setInterval(() => {
      this.#extend();
    }, this.#extendAfterMs / EXTEND_CHECKS);
    const handling = this.#handleAll();
    await this.#options.nats.consume({
      durable: 'sender',
      maxMessages: MAX_BUFFERED,
      signal: this.#stopTaking.signal,
      onMessage: (message) => this.#take(message),
    });
    this.#changed.notify();
    await handling;
    for (const { message } of this.#intake.values()) this.#respond(message, { kind: 'nak' });
    await Promise.all([...this.#inFlight.values()].map(({ done }) => done));
    this.#delayedNaks.flush();
    await this.#circuits.stop();
    clearInterval(extend);
  }

  async #take(message: JetStreamMessage): Promise<void> {
    this.#count(message);
    const delivery = this.#options.deliveries.read(message);
    if (delivery === undefined) return;
    const isStopping = () => this.#stopTaking.signal.aborted;
    if (isStopping()) {
      this.#respond(message, { kind: 'nak' });
      return;
    }
    const { tenant, subscriptionId: lane } = delivery;
    const bytes = message.data.length;
    this.#intake.add({ key: message.seq, tenant, lane, bytes, message, delivery, extendedAt: performance.now() });
    this.#changed.notify();
    while (this.#intake.isFull && !isStopping()) await this.#changed.next();
  }

  /** Extends the ack deadlines of queued deliveries and of those in flight, so that JetStream does not redeliver them. */
  #extend(): void {
    const now = performance.now();
    for (const item of [...[...this.#inFlight.values()].map(({ taken }) => taken), ...this.#intake.values()]) {
      if (now - item.extendedAt < this.#extendAfterMs) continue;
      this.#respond(item.message, { kind: 'working' });
      item.extendedAt = now;
    }
  }

  async #handleAll(): Promise<void> {
    while (!this.#stopTaking.signal.aborted) {
      const [taken] = this.#intake.take(ONE);
      if (taken === undefined) {
        await this.#changed.next();
      } else {
        this.#changed.notify();
        await this.#handle(taken);
      }
    }
  }

  /** Resolves when the delivery has its permits and is in flight. Deliveries acquire permits one after another. */
  async #handle(taken: TakenMessage): Promise<void> {
    const { message, delivery } = taken;
    const permits = delivery.data === undefined ? LARGE_PERMITS : 1 + Math.floor(delivery.data.length / PERMIT_BYTES);
    if (this.#permits.free < permits) this.#results.flush();
    await this.#permits.acquire(permits, this.#stopTaking.signal);
    if (this.#stopTaking.signal.aborted) {
      this.#respond(message, { kind: 'nak' });
      return;
    }
    if (this.#inFlight.has(delivery.deliveryId)) {
      // Another message of this delivery is in flight in this process. A redelivery after its attempt finds the result.
      void nakAfterInfraRetry(this.#deps).then((disposition) => {
        this.#respond(message, disposition);
        this.#permits.release(permits);
      });
      return;
    }
    const done = handleDelivery(this.#deps, { message, delivery, permits })
      .then((disposition) => {
        this.#respond(message, disposition);
      })
      .finally(() => {
        this.#inFlight.delete(delivery.deliveryId);
        this.#permits.release(permits);
      });
    this.#inFlight.set(delivery.deliveryId, { taken, done });
  }

  /** All answers to JetStream. The client drops them when the connection is closed; JetStream then redelivers the message. */
  #respond(message: JetStreamMessage, response: Disposition | { readonly kind: 'working' }): void {
    switch (response.kind) {
      case 'ack':
        message.ack();
        break;
      case 'nak':
        message.nak(response.delayMs);
        break;
      case 'nakUntil':
        this.#delayedNaks.nakUntil(message, response.dueAt);
        break;
      case 'working':
        message.working();
    }
  }
}

function createGauges(
  metrics: Registry,
  { limiter, permits }: { readonly limiter: SubscriptionLimiter; readonly permits: WeightedSemaphore },
): void {
  const registers = [metrics];
  new Gauge({
    registers,
    name: 'webhooks_attempts_in_flight',
    help: 'Attempts that this process is making',
    collect() {
      this.set(limiter.inFlight);
    },
  });
  new Gauge({
    registers,
    name: 'webhooks_sender_capacity_used',
    help: 'Permits that deliveries of this process use, of 1,000; a large delivery uses several',
    collect() {
      this.set(permits.used);
    },
  });
}
