import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { readDataOfDeliveries } from '../../events/store.ts';
import { WeightedSemaphore } from '../../lib/semaphore.ts';
import { type Queueable, TenantQueue } from '../../lib/tenant-queue.ts';
import type { JetStreamMessage, NatsClient } from '../../nats/connection.ts';
import { createMessageCount } from '../../nats/metrics.ts';
import { Batcher } from '../../postgres/batcher.ts';
import type { Database } from '../../postgres/client.ts';
import type { SubscriptionCache } from '../../subscriptions/cache.ts';
import { CircuitBreaker } from '../circuit/breaker.ts';
import type { EgressAgents } from '../http/agents.ts';
import { type Cancellations, markCancelled } from '../queue/cancel.ts';
import type { DeliveryEnvelope } from '../queue/message.ts';
import { SendTimes } from '../queue/rate-slots.ts';
import {
  type Lease,
  type LeaseRequest,
  type LimitedDelivery,
  leaseDeliveries,
  requeueAtLimit,
  requeueDeliveries,
  requeueLater,
} from '../queue/store.ts';
import type { LogAttempts } from './attempt-metrics.ts';
import { handleDelivery, INFRA_RETRY_MS } from './handle.ts';
import { SubscriptionLimiter } from './limiter.ts';
import { DelayedNaks } from './redelivery.ts';
import { ResultWriter } from './result-writer.ts';
import { StartLimiter } from './start-limiter.ts';

/** Deliveries held at a time, under way or about to be; one with much data counts as several. */
const MAX_IN_FLIGHT = 1_000;
/** So many places for so many bytes: 64 MiB in all. */
const PERMIT_BYTES = 64 * 1024;
/** What a delivery takes whose data is read from Postgres: up to 1 MiB. */
const LARGE_PERMITS = 16;
/** How far ahead messages are taken, so that tenants can take turns: in the stream itself nothing overtakes. */
const LOOK_AHEAD = { maxEvents: 8_000, maxBytes: 32 * 1024 * 1024 } as const;
const ONE = { events: 1, deliveries: 1, bytes: 1 } as const;
/** How many messages are asked for at a time. */
const MAX_BUFFERED = 100;
/** JetStream redelivers what was not acked for 60 s; it is told three times as often that we are still at it. */
const WORKING_INTERVAL_MS = 20_000;
/** How long stop() lets attempts finish before it gives them up. */
const STOP_MS = 20_000;

type TakenMessage = Queueable & { readonly message: JetStreamMessage; readonly delivery: DeliveryEnvelope };

/**
 * Makes the attempts. A message is acked only when its attempt is committed to Postgres, or its delivery waits there, so
 * a crash in between means one request more, never one less. A message that may not be the only one of its delivery is
 * checked against Postgres, which knows the attempt's number, and takes a lease there before anything is sent.
 */
export class Sender {
  readonly #options: SenderOptions;
  readonly #stopTaking = new AbortController();
  readonly #stopWorking = new AbortController();
  readonly #places = new WeightedSemaphore(MAX_IN_FLIGHT);
  readonly #turns = new StartLimiter();
  readonly #parts: SenderDeps;
  readonly #count: (message: JetStreamMessage) => void;
  readonly #intake = new TenantQueue<TakenMessage>(LOOK_AHEAD);
  #waitingForChange: (() => void)[] = [];
  /** What is being handled, by delivery. */
  readonly #held = new Map<string, { readonly message: JetStreamMessage; readonly done: Promise<void> }>();
  #running: Promise<void> | undefined;

  constructor(options: SenderOptions) {
    this.#options = options;
    const { database, bus, log, metrics, subscriptions } = options;
    const [stopTaking, stopWorking] = [this.#stopTaking.signal, this.#stopWorking.signal];
    // Every delivery that is held may listen to them.
    setMaxListeners(MAX_IN_FLIGHT + 1, stopTaking, stopWorking);
    const circuits = new CircuitBreaker({ database, bus, log, subscriptions });
    const results = new ResultWriter({ database, bus, log, metrics, circuits, signal: stopWorking });
    const gates = new SubscriptionLimiter(this.#places);
    watchSender(metrics, { gates, places: this.#places });
    this.#count = createMessageCount(metrics, 'sender');
    this.#parts = {
      ...options,
      ...{ stopTaking, stopWorking, circuits, results, gates, turns: this.#turns },
      waits: new DelayedNaks(),
      slots: new SendTimes(database),
      leases: createLeases(database),
      parking: createParking(database),
      statements: createDeliveryStatements(database),
    };
  }

  /** Deliveries that could be attempted now if the processor had time, or there was a place. */
  get waiting(): number {
    return this.#turns.waiting + this.#intake.size;
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
      for (const { message } of [...this.#held.values(), ...this.#intake.values()]) message.working();
    }, WORKING_INTERVAL_MS);
    const holding = this.#holdAll();
    await this.#options.bus.consume({
      durable: 'sender',
      maxMessages: MAX_BUFFERED,
      signal: this.#stopTaking.signal,
      onMessage: (message) => this.#take(message),
    });
    this.#change();
    await holding;
    for (const { message } of this.#intake.values()) message.nak();
    await Promise.all([...this.#held.values()].map(({ done }) => done));
    this.#parts.waits.flush();
    await this.#parts.circuits.stop();
    clearInterval(extend);
  }

  async #take(message: JetStreamMessage): Promise<void> {
    this.#count(message);
    const delivery = this.#options.bus.readDelivery(message);
    if (delivery === undefined) return;
    const isStopping = () => this.#stopTaking.signal.aborted;
    if (isStopping()) {
      message.nak();
      return;
    }
    const { tenant } = delivery;
    this.#intake.add({ key: message.seq, tenant, bytes: message.data.length, message, delivery });
    this.#change();
    while (this.#intake.isFull && !isStopping()) await this.#changed();
  }

  async #holdAll(): Promise<void> {
    while (!this.#stopTaking.signal.aborted) {
      const [taken] = this.#intake.take(ONE);
      if (taken === undefined) {
        await this.#changed();
      } else {
        this.#change();
        await this.#hold(taken);
      }
    }
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#waitingForChange.push(resolve);
    });
  }

  #change(): void {
    for (const resolve of this.#waitingForChange.splice(0)) resolve();
  }

  /** Resolves when there was a place for the message: until then, no other gets one. */
  async #hold({ message, delivery }: TakenMessage): Promise<void> {
    const places = delivery.data === undefined ? LARGE_PERMITS : 1 + Math.floor(delivery.data.length / PERMIT_BYTES);
    await this.#places.acquire(places, this.#stopTaking.signal);
    if (this.#stopTaking.signal.aborted) {
      message.nak();
      return;
    }
    if (this.#held.has(delivery.deliveryId)) {
      // A second message of a delivery that is being attempted here: look again when that is over.
      this.#parts.waits.nakUntil(message, performance.now() + INFRA_RETRY_MS);
      this.#places.release(places);
      return;
    }
    const done = handleDelivery(this.#parts, { message, delivery, permits: places }).finally(() => {
      this.#held.delete(delivery.deliveryId);
      this.#places.release(places);
    });
    this.#held.set(delivery.deliveryId, { message, done });
  }
}

/** What the sender is given. */
type SenderOptions = {
  readonly database: Database;
  readonly bus: NatsClient;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly agents: EgressAgents;
  readonly subscriptions: SubscriptionCache;
  readonly cancellations: Cancellations;
  readonly retryScheduleMs: readonly number[];
  readonly userAgent: string;
  readonly logAttempts: LogAttempts;
};

/** What handling a delivery needs, made once by the sender. */
export type SenderDeps = SenderOptions & {
  /** Aborted first: nothing more is begun. */
  readonly stopTaking: AbortSignal;
  /** Aborted later: what has been begun is given up. */
  readonly stopWorking: AbortSignal;
  readonly waits: DelayedNaks;
  readonly gates: SubscriptionLimiter;
  readonly turns: StartLimiter;
  readonly slots: SendTimes;
  readonly leases: Batcher<LeaseRequest, Lease>;
  readonly parking: Batcher<LimitedDelivery, void>;
  readonly statements: DeliveryStatements;
  readonly results: ResultWriter;
  readonly circuits: CircuitBreaker;
};

/**
 * Statements about one delivery, by its id, of which many may be due at the same time: one of each kind is under way, so
 * that the writing of results waits for few of them.
 */
type DeliveryStatements = {
  readonly cancel: Batcher<string, void>;
  /** Its message is over; it waits in Postgres until its next attempt is due. */
  readonly requeue: Batcher<string, void>;
  /** It cannot be attempted; it waits in Postgres for POSTPONE_MS. */
  readonly postpone: Batcher<string, void>;
  /** The data of its event; undefined if that is gone. */
  readonly loadData: Batcher<string, Buffer | undefined>;
};

const MAX_BATCH = 500;
/** An event's data may have 1 MiB. */
const MAX_DATA_BATCH = 16;
const UNUSABLE_RETRY_MS = 600_000;

/** Leases for many deliveries in one statement. */
export function createLeases({ pool }: Database): Batcher<LeaseRequest, Lease> {
  return new Batcher({
    maxItems: MAX_BATCH,
    write: async (requests) => {
      const leases = await leaseDeliveries(pool, requests);
      return requests.map(({ deliveryId }): Lease => leases.get(deliveryId) ?? { kind: 'over' });
    },
  });
}

/** Leaves deliveries to Postgres, many in one statement. */
export function createParking({ pool }: Database): Batcher<LimitedDelivery, void> {
  return new Batcher<LimitedDelivery, void>({
    maxItems: MAX_BATCH,
    write: async (parkings) => {
      await requeueAtLimit(pool, parkings);
      return [];
    },
  });
}

export function createDeliveryStatements({ pool }: Database): DeliveryStatements {
  const batched = (work: (deliveryIds: readonly string[]) => Promise<void>) =>
    new Batcher<string, void>({
      maxItems: MAX_BATCH,
      write: async (deliveryIds) => {
        await work(deliveryIds);
        return [];
      },
    });
  return {
    cancel: batched((deliveryIds) => markCancelled(pool, deliveryIds)),
    requeue: batched((deliveryIds) => requeueDeliveries(pool, deliveryIds)),
    postpone: batched((deliveryIds) => requeueLater(pool, { deliveryIds, waitMs: UNUSABLE_RETRY_MS })),
    loadData: new Batcher<string, Buffer | undefined>({
      maxItems: MAX_DATA_BATCH,
      write: async (deliveryIds) => {
        const data = await readDataOfDeliveries(pool, deliveryIds);
        return deliveryIds.map((id) => data.get(id));
      },
    }),
  };
}

/** Shows what a sender has in hand. */
function watchSender(
  metrics: Registry,
  {
    gates,
    places,
  }: { readonly gates: Pick<SubscriptionLimiter, 'inFlight'>; readonly places: Pick<WeightedSemaphore, 'used'> },
): void {
  new Gauge({
    ...{ registers: [metrics], name: 'webhooks_attempts_in_flight' },
    help: 'Attempts that this process is making',
    collect() {
      this.set(gates.inFlight);
    },
  });
  new Gauge({
    ...{ registers: [metrics], name: 'webhooks_sender_capacity_used' },
    help: 'Places for deliveries that are taken in this process, of 1,000; large ones take several',
    collect() {
      this.set(places.used);
    },
  });
}
