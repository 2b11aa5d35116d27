import { setImmediate as nextTurn } from 'node:timers/promises';
import type { JsMsg } from 'nats';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { type DeliveryMessage, publishOrRequeue, unpublishedMessages } from '../delivery/queue/message.ts';
import type { DeliveryStream } from '../delivery/queue/stream.ts';
import { ChangeSignal } from '../lib/semaphore.ts';
import { type Queueable, TenantQueue } from '../lib/tenant-queue.ts';
import type { Tracing } from '../lib/tracing.ts';
import { pause } from '../lib/waiting.ts';
import type { NatsClient } from '../nats/connection.ts';
import { createMessageCount } from '../nats/metrics.ts';
import type { NatsNames } from '../nats/names.ts';
import { BATCH_EVERY_100_MS, Batcher } from '../postgres/batcher.ts';
import type { Database } from '../postgres/client.ts';
import { isTimeout, isTransient } from '../postgres/errors.ts';
import type { SchemaThread } from './catalogue/schema-thread.ts';
import { type EventMetrics, eventMetrics } from './metrics.ts';
import { type ParsedEvent, parseEvent, type Rejection, rejectMismatch, toIncomingMessage } from './parse.ts';
import { createRejectionLog, retryLaterOrReject } from './refused-event.ts';
import { insertRejectedEvents, type NewRejectedEvent } from './store.ts';
import { type EventSpans, startDispatchSpans } from './trace.ts';
import { BATCH, costsByTenant, EventWriter, type WrittenBatch } from './writer.ts';

export type DispatcherOptions = {
  readonly database: Database;
  readonly nats: NatsClient;
  readonly deliveries: DeliveryStream;
  readonly schemaThread: SchemaThread;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly tracing?: Tracing | undefined;
};

/** `extendedAt`: when JetStream delivered the event, or when its ack deadline was last extended (performance.now()). */
type ReceivedEvent = Queueable & { readonly message: JsMsg; extendedAt: number };

type WritingBatch = { readonly tenants: ReadonlySet<string>; readonly deliveries: number };

type ParsedBatch = {
  readonly batch: readonly ReceivedEvent[];
  /** The parsed messages of the batch, in its order. */
  readonly spans: EventSpans<ParsedEvent | Rejection>;
  /** When parsing began (performance.now()). */
  readonly begun: number;
};

const MAX_BATCHES = 2;
/** A batch with at least this many deliveries is large: a batch of other tenants is written concurrently. */
const LARGE_BATCH = 100;
/**
 * Bounds of the events queued in memory, which are dispatched round-robin by tenant and event type. Other events overtake a
 * burst of up to this size.
 */
const LOOK_AHEAD = { maxItems: 32_000, maxBytes: 32 * 1024 * 1024 } as const;
/** Maximum milliseconds of parsing in one turn of the event loop, exceeded by a single large event (about 20 ms). */
const MAX_TURN_MS = 10;
/** Age at which an event's ack deadline is extended. JetStream redelivers after 10 s. */
const EXTEND_AFTER_MS = 6_000;
const EXTEND_INTERVAL_MS = 1_000;
const RETRY_MS = 1_000;
/** Maximum transient failures of a batch while Postgres is available. Then its events are dispatched one by one. */
const MAX_FAILURES = 3;

/**
 * Creates one delivery of each event for each matching subscription, round-robin by tenant (ADR 14). One statement writes a
 * batch of events and their deliveries; then the delivery messages are published (deliveries that NATS does not accept are
 * requeued in Postgres for the sweeper); only then the events are acknowledged. After a crash in between, the events are
 * redelivered, and their ids show which have been written.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #stopping = new AbortController();
  readonly #queue = new TenantQueue<ReceivedEvent>(LOOK_AHEAD);
  /** Events of the batches being dispatched, by key. */
  readonly #inFlight = new Map<number, ReceivedEvent>();
  readonly #writer: EventWriter;
  readonly #metrics: EventMetrics;
  readonly #acks: Batcher<JsMsg, void>;
  readonly #logRejected: (rejected: readonly NewRejectedEvent[]) => void;
  /** Batches being written or published. */
  readonly #batches = new Set<Promise<void>>();
  readonly #writing = new Set<WritingBatch>();
  /** Notified when an event is queued, when a batch begins, is written or ends, and when consuming ends. */
  readonly #changed = new ChangeSignal();
  #acked: Promise<void> = Promise.resolve();
  #running: Promise<void> | undefined;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#writer = new EventWriter(options);
    this.#metrics = eventMetrics(options.metrics);
    this.#logRejected = createRejectionLog(options.log);
    // Batched, because each write to the socket wakes nats-server. An event that is redelivered because a crash lost its ack
    // is recognised by its id.
    this.#acks = new Batcher<JsMsg, void>({
      maxItems: BATCH.items,
      pace: { ...BATCH_EVERY_100_MS, isUrgent: () => this.#stopping.signal.aborted },
      write: (messages) => {
        for (const message of messages) message.ack();
        return Promise.resolve([]);
      },
    });
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Finishes the batches in flight, unless they fail; the other events are redelivered to another process. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    // Ends the wait of a consumer that is blocked by a full queue.
    this.#changed.notify();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const count = createMessageCount(this.#options.metrics, 'dispatcher');
    const extend = setInterval(() => {
      this.#extend();
    }, EXTEND_INTERVAL_MS);
    const dispatching = this.#dispatchAll();
    await this.#options.nats.consume({
      durable: 'dispatcher',
      maxMessages: BATCH.items,
      signal,
      onMessage: async (message) => {
        count(message);
        this.#receive(message);
        while (this.#queue.isFull && !signal.aborted) await this.#changed.next();
      },
    });
    this.#changed.notify();
    await dispatching;
    this.#acks.flush();
    await this.#acked;
    clearInterval(extend);
    // A nak makes JetStream redeliver them immediately instead of after the ack deadline.
    for (const { message } of [...this.#inFlight.values(), ...this.#queue.values()]) message.nak();
  }

  #receive(message: JsMsg): void {
    if (this.#stopping.signal.aborted) {
      message.nak();
      return;
    }
    const { tenant = '', type: lane = '' } = this.#options.nats.names.parseEventSubject(message.subject) ?? {};
    const item = { message, tenant, lane, key: message.seq, bytes: message.data.length, extendedAt: performance.now() };
    // A redelivery of a queued or in-flight event is dropped: the first copy is acknowledged.
    if (!this.#inFlight.has(item.key)) this.#queue.add(item);
    this.#changed.notify();
  }

  /** Extends the ack deadlines of queued and in-flight events, so that JetStream does not redeliver them. */
  #extend(): void {
    const now = performance.now();
    for (const item of [...this.#inFlight.values(), ...this.#queue.values()]) {
      if (now - item.extendedAt < EXTEND_AFTER_MS) continue;
      item.message.working();
      item.extendedAt = now;
    }
  }

  async #dispatchAll(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const batch = this.#take();
      if (batch.length > 0) {
        this.#begin(batch);
      } else {
        await this.#changed.next();
        // Events that arrive together are dispatched together.
        await nextTurn();
      }
    }
    await Promise.all(this.#batches);
  }

  /**
   * The next batch; empty if none may begin. A batch is written while the previous one is being published. While a large
   * batch is being written, a batch of other tenants may be written too.
   */
  #take(): ReceivedEvent[] {
    if (this.#batches.size >= MAX_BATCHES) return [];
    const [writing] = this.#writing;
    if (writing === undefined) return this.#queue.take(BATCH);
    return writing.deliveries >= LARGE_BATCH ? this.#queue.take(BATCH, writing.tenants) : [];
  }

  #begin(batch: readonly ReceivedEvent[]): void {
    for (const item of batch) this.#inFlight.set(item.key, item);
    const writing = {
      tenants: new Set(batch.map(({ tenant }) => tenant)),
      deliveries: this.#queue.expectedDeliveries(batch),
    };
    this.#writing.add(writing);
    const onWritten = () => {
      this.#writing.delete(writing);
      this.#changed.notify();
    };
    const handling = this.#handle(batch, onWritten).finally(() => {
      this.#batches.delete(handling);
      onWritten();
    });
    this.#batches.add(handling);
    this.#changed.notify();
  }

  /** Retries until the batch is dispatched or refused; while Postgres is unavailable, new events stay in JetStream. */
  async #handle(batch: readonly ReceivedEvent[], onWritten?: () => void): Promise<void> {
    const { log, database } = this.#options;
    let failuresWhileAvailable = 0;
    for (let failures = 0; ; failures += 1) {
      if (this.#stopping.signal.aborted && failures > 0) return;
      try {
        // The client drops acks when the connection is closed; JetStream redelivers the events then.
        // Deferred events stay in flight: another batch takes them.
        for (const { message, key } of await this.#dispatch(batch, onWritten)) {
          this.#acked = this.#acks.add(message);
          this.#inFlight.delete(key);
        }
        return;
      } catch (error) {
        this.#metrics.dispatchFailed();
        if (!isTransient(error) || isTimeout(error) || failuresWhileAvailable >= MAX_FAILURES) {
          await this.#handleRefusal(batch, error);
          return;
        }
        if (failures % 30 === 0) log.error({ err: error, events: batch.length }, 'dispatch failed; retrying');
        const isAvailable = ping(database);
        await pause(RETRY_MS, this.#stopping.signal);
        if (isAvailable()) failuresWhileAvailable += 1;
      }
    }
  }

  /** Dispatches the events one by one, because one that cannot be written must not block the others. */
  async #handleRefusal(batch: readonly ReceivedEvent[], error: unknown): Promise<void> {
    const [first] = batch;
    if (batch.length > 1) {
      for (const item of batch) {
        // JetStream redelivers the remaining events.
        if (this.#stopping.signal.aborted) return;
        await this.#handle([item]);
      }
    } else if (first !== undefined) {
      await retryLaterOrReject({ ...this.#options, metrics: this.#metrics }, { message: first.message, error });
      this.#inFlight.delete(first.key);
    }
  }

  /** Returns the dispatched events. The others exceeded the maximum cost of one transaction and are queued again. */
  async #dispatch(batch: readonly ReceivedEvent[], onWritten?: () => void): Promise<readonly ReceivedEvent[]> {
    const begun = performance.now();
    const spans = startDispatchSpans(this.#options.tracing, batch, await parseAll(batch, this.#options.nats.names));
    try {
      return await this.#writeAndPublish({ batch, begun, spans }, onWritten);
    } catch (error) {
      spans.end({ error });
      throw error;
    }
  }

  async #writeAndPublish(
    { batch, begun, spans }: ParsedBatch,
    onWritten?: () => void,
  ): Promise<readonly ReceivedEvent[]> {
    const parsed = spans.traced;
    const startedAt = performance.now();
    const events = parsed.filter((item) => item.kind === 'event');
    const result = await this.#writer.write(this.#options.database.pool, events);
    const { written, deferred, knownIds } = result;
    for (const [tenant, cost] of costsByTenant(written)) this.#queue.recordCost(tenant, cost);
    const rejections = rejectionsOf(parsed, result);
    await this.#recordRejections(rejections);
    const deferredIds = new Set(deferred.map(({ id }) => id));
    const isDeferred = (_: ReceivedEvent, index: number) => deferredIds.has(parsed[index]?.id ?? '');
    this.#queue.putBack(batch.filter(isDeferred));
    this.#metrics.written('nats', { matched: written, isKnown: (id) => knownIds.includes(id) });
    const toPublish = [...result.messages, ...(await this.#unpublishedMessages(knownIds))];
    onWritten?.();
    await publishOrRequeue(this.#options, toPublish, startedAt);
    spans.end({ matched: written, errors: new Map(rejections.map(({ id, reason }) => [id, reason])) });
    const dispatched = batch.filter((item, index) => !isDeferred(item, index));
    this.#metrics.dispatched({ events: dispatched.length, seconds: (performance.now() - begun) / 1_000 });
    return dispatched;
  }

  /** Idempotent: after a crash a rejection may be recorded again. */
  async #recordRejections(rejections: readonly Rejection[]): Promise<void> {
    if (rejections.length === 0) return;
    const recorded = await insertRejectedEvents(this.#options.database.pool, rejections);
    this.#logRejected(recorded);
    for (const { reason } of recorded) this.#metrics.rejected(reason);
  }

  /** A crash may have prevented publishing the messages of events that were written before. */
  async #unpublishedMessages(knownIds: readonly string[]): Promise<DeliveryMessage[]> {
    if (knownIds.length === 0) return [];
    const { database, deliveries, log } = this.#options;
    log.info({ events: knownIds.length }, 'events received again');
    const maxDataBytes = deliveries.maxInlineDataBytes;
    return unpublishedMessages(database.pool, { eventRowIds: knownIds, maxDataBytes });
  }
}

function rejectionsOf(
  parsed: readonly (ParsedEvent | Rejection)[],
  { mismatches }: Pick<WrittenBatch, 'mismatches'>,
): Rejection[] {
  return parsed.flatMap((item) => {
    if (item.kind === 'rejected') return [item];
    const mismatch = mismatches.get(item.id);
    return mismatch === undefined ? [] : [rejectMismatch(item, mismatch)];
  });
}

async function parseAll(batch: readonly ReceivedEvent[], names: NatsNames): Promise<(ParsedEvent | Rejection)[]> {
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

/** Sends a trivial query. The returned function returns whether Postgres has answered it. */
function ping({ pool }: Database): () => boolean {
  let hasAnswered = false;
  pool.query('SELECT 1').then(
    () => {
      hasAnswered = true;
    },
    () => undefined,
  );
  return () => hasAnswered;
}
