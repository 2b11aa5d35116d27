import { setMaxListeners } from 'node:events';
import type { PublishedDelivery } from '../queue/delivery-message.ts';
import { createMessageCount } from '../../nats/message-metrics.ts';
import type { StreamMessage } from '../../nats/stream-message.ts';
import { type Queueable, TenantQueue } from '../../lib/tenant-queue.ts';
import { BeginTurns } from './begin-turns.ts';
import { CircuitBreaker } from '../circuit/breaker.ts';
import { Gates } from './limiter.ts';
import { handleDelivery, TROUBLE_MS } from './handle.ts';
import { Places } from '../../lib/places.ts';
import { ResultWriter } from './result-writer.ts';
import { SendSlots } from '../queue/send-slots.ts';
import { watchSender } from './sender-gauges.ts';
import {
  createDeliveryStatements,
  createLeases,
  createParking,
  type SenderOptions,
  type SenderParts,
} from './sender-parts.ts';
import { ShortWaits } from './short-waits.ts';

/** Deliveries held at a time, under way or about to be; one with much data counts as several. */
const MAX_HELD = 1_000;
/** So many places for so many bytes: 64 MiB in all. */
const PLACE_BYTES = 64 * 1024;
/** What a delivery takes whose data is read from Postgres: up to 1 MiB. */
const LARGE_PLACES = 16;
/** How far ahead messages are taken, so that tenants can take turns: in the stream itself nothing overtakes. */
const LOOK_AHEAD = { maxEvents: 8_000, maxBytes: 32 * 1024 * 1024 } as const;
const ONE = { events: 1, deliveries: 1, bytes: 1 } as const;
/** How many messages are asked for at a time. */
const MAX_BUFFERED = 100;
/** JetStream redelivers what was not acked for 60 s; it is told three times as often that we are still at it. */
const WORKING_INTERVAL_MS = 20_000;
/** How long stop() lets attempts finish before it gives them up. */
const STOP_MS = 20_000;

type TakenMessage = Queueable & { readonly message: StreamMessage; readonly delivery: PublishedDelivery };

/**
 * Makes the attempts. A message is acked only when its attempt is committed to Postgres, or its delivery waits there, so
 * a crash in between means one request more, never one less. A message that may not be the only one of its delivery is
 * checked against Postgres, which knows the attempt's number, and takes a lease there before anything is sent.
 */
export class Sender {
  readonly #options: SenderOptions;
  readonly #stopTaking = new AbortController();
  readonly #stopWorking = new AbortController();
  readonly #places = new Places(MAX_HELD);
  readonly #turns = new BeginTurns();
  readonly #parts: SenderParts;
  readonly #count: (message: StreamMessage) => void;
  readonly #intake = new TenantQueue<TakenMessage>(LOOK_AHEAD);
  #waitingForChange: (() => void)[] = [];
  /** What is being handled, by delivery. */
  readonly #held = new Map<string, { readonly message: StreamMessage; readonly done: Promise<void> }>();
  #running: Promise<void> | undefined;

  constructor(options: SenderOptions) {
    this.#options = options;
    const { database, bus, log, metrics, subscriptions } = options;
    const [stopTaking, stopWorking] = [this.#stopTaking.signal, this.#stopWorking.signal];
    // Every delivery that is held may listen to them.
    setMaxListeners(MAX_HELD + 1, stopTaking, stopWorking);
    const circuits = new CircuitBreaker({ database, bus, log, subscriptions });
    const results = new ResultWriter({ database, bus, log, metrics, circuits, signal: stopWorking });
    const gates = new Gates(this.#places);
    watchSender(metrics, { gates, places: this.#places });
    this.#count = createMessageCount(metrics, 'sender');
    this.#parts = {
      ...options,
      ...{ stopTaking, stopWorking, circuits, results, gates, turns: this.#turns },
      waits: new ShortWaits(),
      slots: new SendSlots(database),
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

  async #take(message: StreamMessage): Promise<void> {
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
    const places = delivery.data === undefined ? LARGE_PLACES : 1 + Math.floor(delivery.data.length / PLACE_BYTES);
    await this.#places.acquire(places, this.#stopTaking.signal);
    if (this.#stopTaking.signal.aborted) {
      message.nak();
      return;
    }
    if (this.#held.has(delivery.deliveryId)) {
      // A second message of a delivery that is being attempted here: look again when that is over.
      this.#parts.waits.nakUntil(message, performance.now() + TROUBLE_MS);
      this.#places.release(places);
      return;
    }
    const done = handleDelivery(this.#parts, { message, delivery, places }).finally(() => {
      this.#held.delete(delivery.deliveryId);
      this.#places.release(places);
    });
    this.#held.set(delivery.deliveryId, { message, done });
  }
}
