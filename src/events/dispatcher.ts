import { setImmediate as nextTurn } from 'node:timers/promises';
import type { JsMsg } from 'nats';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { type DeliveryMessage, publishOrRequeue, toDeliveryMessage } from '../delivery/queue/message.ts';
import { unattemptedDeliveries } from '../delivery/queue/store.ts';
import { groupBy } from '../lib/collections.ts';
import { pause } from '../lib/loop.ts';
import { type Queueable, TenantQueue } from '../lib/tenant-queue.ts';
import type { NatsClient } from '../nats/connection.ts';
import { createMessageCount } from '../nats/metrics.ts';
import type { NatsNames } from '../nats/names.ts';
import { type Database, type Queryable, transaction } from '../postgres/client.ts';
import { isTimeout, isTransient } from '../postgres/errors.ts';
import type { SchemaThread } from './catalogue/schema-thread.ts';
import { EventValidator } from './catalogue/validator.ts';
import { type EventMetrics, eventMetrics } from './metrics.ts';
import { type ParsedEvent, parseEvent, type Rejection, rejectMismatch, toIncomingMessage } from './parse.ts';
import { createRejectionLog, retryLaterOrReject } from './refused-event.ts';
import { insertRejectedEvents, type NewRejectedEvent } from './store.ts';
import { EventWriter, fittingCount, MAX_DELIVERIES, type MatchedEvent, warnOfExhaustedFilterBudget } from './writer.ts';

export type DispatcherOptions = {
  readonly database: Database;
  readonly bus: NatsClient;
  readonly schemaThread: SchemaThread;
  readonly log: Logger;
  readonly metrics: Registry;
};

type JudgedEvents = { readonly rejections: readonly Rejection[]; readonly matched: readonly MatchedEvent[] };

type WrittenEvents = {
  readonly toPublish: readonly DeliveryMessage[];
  /** Those that had not been recorded before. */
  readonly rejected: readonly NewRejectedEvent[];
  readonly knownIds: readonly string[];
};

/** An event that was taken. `touchedAt`: when JetStream last gave it to us, or was told that we have it (performance.now()). */
type HeldEvent = Queueable & { readonly message: JsMsg; touchedAt: number };

/** Limits of one transaction. */
const BATCH = { events: 256, deliveries: MAX_DELIVERIES, bytes: 4 * 1024 * 1024 } as const;
/** How far ahead events are taken, so that tenants can take turns. */
const LOOK_AHEAD = { maxEvents: 4_000, maxBytes: 32 * 1024 * 1024 } as const;
/** Parsing an event can take some 20 ms; after so much of it others get a turn of the event loop. */
const MAX_TURN_MS = 10;
/** JetStream redelivers after 10 s. */
const EXTEND_AFTER_MS = 4_000;
const EXTEND_INTERVAL_MS = 1_000;
const RETRY_MS = 1_000;
/** So often a batch may fail while Postgres answers, before its events are tried one by one, and each set aside. */
const MAX_FAILURES = 3;

/**
 * Turns each event into one delivery per matching subscription, tenants in turn: one transaction writes a batch of events and their
 * deliveries, then the deliveries' messages are published (what NATS does not take waits in Postgres for the sweeper),
 * and only then the events are acked. A crash at any line in between means that the events are redelivered; their ids
 * show what has been done.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #stopping = new AbortController();
  readonly #queue = new TenantQueue<HeldEvent>(LOOK_AHEAD);
  /** By key. */
  readonly #inHand = new Map<number, HeldEvent>();
  readonly #catalogue: EventValidator;
  readonly #writer: EventWriter;
  readonly #metrics: EventMetrics;
  readonly #logRejected: (rejected: readonly NewRejectedEvent[]) => void;
  #running: Promise<void> | undefined;
  #waitingForChange: (() => void)[] = [];
  /** Everything that has been begun. */
  #handling: Promise<unknown> = Promise.resolve();

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#catalogue = new EventValidator(options.schemaThread, options.log);
    this.#writer = new EventWriter(options.bus);
    this.#metrics = eventMetrics(options.metrics);
    this.#logRejected = createRejectionLog(options.log);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Finishes the batch in hand; what has not been started is redelivered later. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const count = createMessageCount(this.#options.metrics, 'dispatcher');
    const extend = setInterval(() => {
      this.#extend();
    }, EXTEND_INTERVAL_MS);
    const dispatching = this.#dispatchAll();
    await this.#options.bus.consume({
      durable: 'dispatcher',
      maxMessages: BATCH.events,
      signal,
      onMessage: async (message) => {
        count(message);
        this.#take(message);
        while (this.#queue.isFull && !signal.aborted) await this.#changed();
      },
    });
    this.#change();
    await dispatching;
    await this.#handling;
    clearInterval(extend);
    // Others need not wait until JetStream notices that we are gone.
    for (const { message } of this.#queue.values()) message.nak();
  }

  #take(message: JsMsg): void {
    if (this.#stopping.signal.aborted) {
      message.nak();
      return;
    }
    const tenant = this.#options.bus.names.parseEventSubject(message.subject)?.tenant ?? '';
    const item = { message, tenant, key: message.seq, bytes: message.data.length, touchedAt: performance.now() };
    // A redelivery of what waits here, or is in hand, is the same event: the one that is here gets acked.
    if (!this.#inHand.has(item.key)) this.#queue.add(item);
    this.#change();
  }

  /** Tells JetStream that what waits for its turn is not lost. */
  #extend(): void {
    const now = performance.now();
    for (const item of [...this.#inHand.values(), ...this.#queue.values()]) {
      if (now - item.touchedAt < EXTEND_AFTER_MS) continue;
      item.message.working();
      item.touchedAt = now;
    }
  }

  async #dispatchAll(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      if (this.#queue.size === 0) {
        await this.#changed();
        // So that what arrives together is dispatched together.
        await nextTurn();
        continue;
      }
      const batch = this.#queue.take(BATCH);
      for (const item of batch) this.#inHand.set(item.key, item);
      this.#change();
      await this.#begin(batch);
    }
  }

  /** Resolves when something was put into the queue, or taken from it, or no more comes. */
  #changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#waitingForChange.push(resolve);
    });
  }

  #change(): void {
    for (const resolve of this.#waitingForChange.splice(0)) resolve();
  }

  /** Resolves when the batch is written, or given up: its messages are published while the next one is being written. */
  #begin(batch: readonly HeldEvent[]): Promise<void> {
    const before = this.#handling;
    return new Promise((resolve) => {
      const onWritten = async () => {
        // One batch at a time is published, so that no more than two are in hand.
        await before;
        resolve();
      };
      this.#handling = Promise.all([before, this.#handle(batch, onWritten)]).then(() => {
        resolve();
      });
    });
  }

  /** Tries until it has worked: while Postgres is away, events wait in JetStream. */
  async #handle(batch: readonly HeldEvent[], onWritten?: () => Promise<void>): Promise<void> {
    const { log, database } = this.#options;
    let failuresOfItsOwn = 0;
    for (let failures = 0; ; failures += 1) {
      if (this.#stopping.signal.aborted && failures > 0) return;
      try {
        for (const { message } of await this.#dispatch(batch, onWritten)) message.ack();
        for (const item of batch) this.#inHand.delete(item.key);
        return;
      } catch (error) {
        this.#metrics.dispatchFailed();
        if (!isTransient(error) || isTimeout(error) || failuresOfItsOwn >= MAX_FAILURES) {
          await this.#handleRefusal(batch, error);
          return;
        }
        if (failures % 30 === 0)
          log.error({ err: error, events: batch.length }, 'events cannot be dispatched; trying again');
        const isAnswering = answers(database);
        await pause(RETRY_MS, this.#stopping.signal);
        if (isAnswering()) failuresOfItsOwn += 1;
      }
    }
  }

  /** One event that cannot be written must not hold up the others. */
  async #handleRefusal(batch: readonly HeldEvent[], error: unknown): Promise<void> {
    const [first] = batch;
    if (batch.length > 1) {
      for (const item of batch) {
        // JetStream redelivers those that are left.
        if (this.#stopping.signal.aborted) return;
        await this.#handle([item]);
      }
    } else if (first !== undefined) {
      await retryLaterOrReject({ ...this.#options, metrics: this.#metrics }, { message: first.message, error });
      this.#inHand.delete(first.key);
    }
  }

  /** Returns what it dispatched. The others would have made too many deliveries for one transaction, and wait again. */
  async #dispatch(batch: readonly HeldEvent[], onWritten?: () => Promise<void>): Promise<readonly HeldEvent[]> {
    const begun = performance.now();
    const { pool } = this.#options.database;
    const parsed = await parseAll(batch, this.#options.bus.names);
    const startedAt = performance.now();
    const { rejections, matched } = await this.#judge(pool, parsed);
    this.#learn(matched);
    const fitting = matched.slice(0, fittingCount(matched));
    const later = new Set(matched.slice(fitting.length).map(({ event }) => event.id));
    const judged = { rejections, matched: fitting };
    const { toPublish, rejected, knownIds } = await transaction(pool, (db) => this.#write(db, judged));
    const isLater = (_: HeldEvent, index: number) => later.has(parsed[index]?.id ?? '');
    this.#queue.putBack(batch.filter(isLater));
    this.#logRejected(rejected);
    for (const { reason } of rejected) this.#metrics.rejected(reason);
    this.#metrics.written('nats', { matched: fitting, isKnown: (id) => knownIds.includes(id) });
    await onWritten?.();
    await publishOrRequeue(this.#options, toPublish, startedAt);
    const dispatched = batch.filter((item, index) => !isLater(item, index));
    this.#metrics.dispatched({ events: dispatched.length, seconds: (performance.now() - begun) / 1_000 });
    return dispatched;
  }

  #learn(matched: readonly MatchedEvent[]): void {
    for (const [tenant, ofTenant] of groupBy(matched, ({ event }) => event.tenant)) {
      const deliveries = ofTenant.reduce((sum, { subscriptions }) => sum + subscriptions.length, 0);
      this.#queue.learn(tenant, Math.ceil(deliveries / ofTenant.length));
    }
  }

  /** What takes time to think about is not done in a transaction: Postgres ends one that stands still. */
  async #judge(db: Queryable, parsed: readonly (ParsedEvent | Rejection)[]): Promise<JudgedEvents> {
    const events = parsed.filter((item) => item.kind === 'event');
    const mismatches = await this.#catalogue.findMismatches(db, events);
    const rejections = parsed.flatMap((item) => {
      if (item.kind === 'rejected') return [item];
      const mismatch = mismatches.get(item.id);
      return mismatch === undefined ? [] : [rejectMismatch(item, mismatch)];
    });
    const matched = await this.#writer.match(
      db,
      events.filter(({ id }) => !mismatches.has(id)),
    );
    return { rejections, matched };
  }

  async #write(db: Queryable, { rejections, matched }: JudgedEvents): Promise<WrittenEvents> {
    const rejected = rejections.length > 0 ? await insertRejectedEvents(db, rejections) : [];
    const { messages, knownIds } = await this.#writer.write(db, matched);
    warnOfExhaustedFilterBudget(
      this.#options.log,
      matched.filter(({ event }) => !knownIds.includes(event.id)),
    );
    if (knownIds.length === 0) return { toPublish: messages, rejected, knownIds };
    // They were written before: a crash may have come between that and publishing their messages.
    this.#options.log.info({ events: knownIds.length }, 'events came again');
    const maxDataBytes = this.#options.bus.maxInlineDataBytes;
    const pending = await unattemptedDeliveries(db, { eventRowIds: knownIds, maxDataBytes });
    const again = pending.map((delivery) => toDeliveryMessage(delivery));
    return { toPublish: [...messages, ...again], rejected, knownIds };
  }
}

async function parseAll(batch: readonly HeldEvent[], names: NatsNames): Promise<(ParsedEvent | Rejection)[]> {
  const parsed: (ParsedEvent | Rejection)[] = [];
  let turnBegan = performance.now();
  for (const { message } of batch) {
    parsed.push(parseEvent(toIncomingMessage(message), names));
    if (performance.now() - turnBegan < MAX_TURN_MS) continue;
    await nextTurn();
    turnBegan = performance.now();
  }
  return parsed;
}

/** Asks Postgres something that it has to have an answer to, and says whether that has come. */
function answers({ pool }: Database): () => boolean {
  let hasAnswered = false;
  pool.query('SELECT 1').then(
    () => {
      hasAnswered = true;
    },
    () => undefined,
  );
  return () => hasAnswered;
}
