import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { publishOrRequeue, unpublishedMessages } from '../delivery/queue/message.ts';
import type { DeliveryStream } from '../delivery/queue/stream.ts';
import { DomainError } from '../lib/errors.ts';
import { type Queueable, TenantQueue } from '../lib/tenant-queue.ts';
import type { Tracing } from '../lib/tracing.ts';
import { uuid7 } from '../lib/uuid7.ts';
import type { Database } from '../postgres/client.ts';
import { isTimeout, isTransient } from '../postgres/errors.ts';
import type { Mismatch } from './catalogue/compile.ts';
import type { SchemaThread } from './catalogue/schema-thread.ts';
import { EventDataInvalidError } from './catalogue/validator.ts';
import { eventMetrics } from './metrics.ts';
import { knownEvents, type NewEvent } from './store.ts';
import { startPublishSpans } from './trace.ts';
import { BATCH, costsByTenant, EventWriter } from './writer.ts';

export type EventToPublish = Pick<NewEvent, 'tenant' | 'type' | 'data'> & {
  readonly eventId: string | undefined;
  /** Default: now. */
  readonly occurredAt: Date | undefined;
};

/** A newly recorded event or, if `isKnown`, an earlier event with the same id. */
export type PublishedEvent = Pick<NewEvent, 'tenant' | 'eventId' | 'type' | 'occurredAt' | 'data'> & {
  /** The id of the event's row. */
  readonly rowId: string;
  /** Whether the publisher's id was recorded before. Type, time and data are then those of this call, not of the record. */
  readonly isKnown: boolean;
};

/** `error`: an EventDataInvalidError, a PublishingBusyError, or the error that prevented the event from being written. */
export type PublishOutcome = { readonly event: PublishedEvent } | { readonly error: unknown };

/** Writes events and their deliveries and publishes the deliveries. Resolves with the outcome of each event, in order. */
export type PublishEvents = (
  events: readonly EventToPublish[],
  /** The position in a trace of the publishing request. */
  traceParent?: string,
) => Promise<PublishOutcome[]>;

type Services = {
  readonly database: Database;
  readonly deliveries: DeliveryStream;
  readonly schemaThread: SchemaThread;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly tracing?: Tracing | undefined;
};

type Outcome =
  /** `published` settles when the deliveries of the batch are published, or requeued. */
  | { readonly kind: 'written'; readonly rowId: string; readonly published: Promise<unknown> }
  | { readonly kind: 'mismatch'; readonly mismatch: Mismatch }
  | { readonly kind: 'failed'; readonly error: unknown }
  /** Not written, because the transaction would have created too many deliveries. */
  | { readonly kind: 'deferred' };

type FinalOutcome = Exclude<Outcome, { readonly kind: 'deferred' }>;

/** Maximum bytes of the events of this process that are queued, being written or being published. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;
/** Estimated bytes of a queued event without its data. */
const EVENT_BYTES = 1_024;
/** Multiple of the free bytes that one tenant's events may use: seven eighths of all bytes for a single active tenant. */
const TENANT_SHARE = 7;
/** Time limit for writing the events of a failed batch one by one, in milliseconds. */
const ONE_BY_ONE_MS = 10_000;

/** Call this once for each process. Concurrent events are written in batches, on one connection of the pool. */
export function createPublishEvents(services: Services): PublishEvents {
  const writer = new EventWriter(services);
  const counts = eventMetrics(services.metrics);
  const queue = new PublishQueue((events) => writeBatch(events, write));

  async function write(events: readonly NewEvent[]): Promise<Outcome[]> {
    const begun = performance.now();
    const { pool } = services.database;
    const { mismatches, written, deferred, knownIds, ...batch } = await writer.write(pool, events);
    for (const [tenant, cost] of costsByTenant(written)) queue.recordCost(tenant, cost);
    const deferredIds = new Set(deferred.map(({ id }) => id));
    const isKnown = ({ id }: NewEvent) => knownIds.includes(id);
    const known = await knownEvents(pool, events.filter(isKnown));
    const maxDataBytes = services.deliveries.maxInlineDataBytes;
    // An earlier try of this batch wrote these rows, but the connection broke during the commit.
    const eventRowIds = [...known].flatMap(([id, rowId]) => (id === rowId ? [id] : []));
    const messages = [...batch.messages, ...(await unpublishedMessages(pool, { eventRowIds, maxDataBytes }))];
    counts.written('graphql', { matched: written, isKnown: (id) => known.has(id) && known.get(id) !== id });
    // Not awaited, so that the next batch is written while this one is published.
    const published = publishOrRequeue(services, messages, begun);
    // The publishers await this promise, except those of refused events. Avoids an unhandled rejection if all were refused.
    published.catch(() => undefined);
    return events.map(({ id }) => {
      const mismatch = mismatches.get(id);
      if (mismatch !== undefined) return { kind: 'mismatch', mismatch };
      if (deferredIds.has(id)) return { kind: 'deferred' };
      return { kind: 'written', rowId: known.get(id) ?? id, published };
    });
  }

  return async (events, parent) => {
    const now = services.database.clock.now();
    const created = events.map(({ tenant, type, data, eventId, occurredAt }): NewEvent => {
      const id = uuid7(now);
      const source = 'GRAPHQL';
      return { id, tenant, eventId: eventId ?? id, type, occurredAt: occurredAt ?? new Date(now), data, source };
    });
    const spans = startPublishSpans(services.tracing, { events: created, parent });
    const outcomes = await Promise.all(spans.traced.map(async (event) => outcomeOf(event, await queue.add(event))));
    spans.end({ errors: new Map(outcomes.map((outcome, index) => [created[index]?.id ?? '', errorOf(outcome)])) });
    return outcomes;
  };
}

function errorOf(outcome: PublishOutcome): unknown {
  return 'error' in outcome ? outcome.error : undefined;
}

function outcomeOf(event: NewEvent, outcome: FinalOutcome): PublishOutcome {
  if (outcome.kind === 'failed') return { error: outcome.error };
  if (outcome.kind === 'mismatch') return { error: new EventDataInvalidError(outcome.mismatch) };
  const { id, tenant, eventId, type, occurredAt, data } = event;
  const { rowId } = outcome;
  return { event: { tenant, eventId, type, occurredAt, data, rowId, isKnown: rowId !== id } };
}

type QueuedEvent = Queueable & { readonly event: NewEvent; readonly resolve: (outcome: FinalOutcome) => void };

/** Writes events in batches of one transaction, round-robin by tenant. If it is full, add() fails (PublishingBusyError). */
class PublishQueue {
  readonly #write: (events: readonly NewEvent[]) => Promise<Outcome[]>;
  readonly #queue = new TenantQueue<QueuedEvent>({ maxItems: Number.POSITIVE_INFINITY, maxBytes: MAX_QUEUED_BYTES });
  /** Bytes of the events queued, being written or being published, by tenant. */
  readonly #bytesOfTenant = new Map<string, number>();
  #bytes = 0;
  #lastKey = 0;
  #isWriting = false;

  /** `write` never rejects. */
  constructor(write: (events: readonly NewEvent[]) => Promise<Outcome[]>) {
    this.#write = write;
  }

  async add(event: NewEvent): Promise<FinalOutcome> {
    const { tenant } = event;
    const bytes = event.data.length + EVENT_BYTES;
    const ofTenant = (this.#bytesOfTenant.get(tenant) ?? 0) + bytes;
    if (ofTenant > TENANT_SHARE * (MAX_QUEUED_BYTES - this.#bytes - bytes)) {
      return { kind: 'failed', error: new PublishingBusyError() };
    }
    this.#count(tenant, bytes);
    try {
      const outcome = await new Promise<FinalOutcome>((resolve) => {
        this.#lastKey += 1;
        this.#queue.add({ key: this.#lastKey, tenant, lane: event.type, bytes, event, resolve });
        if (this.#isWriting) return;
        this.#isWriting = true;
        // Deferred to the end of this event loop turn, so that events that arrive together are written together.
        setImmediate(() => void this.#writeAll());
      });
      if (outcome.kind === 'written') await outcome.published;
      return outcome;
    } catch (error) {
      return { kind: 'failed', error };
    } finally {
      this.#count(tenant, -bytes);
    }
  }

  /** Records the cost of an event of this tenant, in deliveries. */
  recordCost(tenant: string, deliveries: number): void {
    this.#queue.recordCost(tenant, deliveries);
  }

  #count(tenant: string, bytes: number): void {
    this.#bytes += bytes;
    const ofTenant = (this.#bytesOfTenant.get(tenant) ?? 0) + bytes;
    if (ofTenant === 0) this.#bytesOfTenant.delete(tenant);
    else this.#bytesOfTenant.set(tenant, ofTenant);
  }

  async #writeAll(): Promise<void> {
    while (this.#queue.size > 0) {
      const batch = this.#queue.take(BATCH);
      const outcomes = await this.#write(batch.map(({ event }) => event));
      const deferred: QueuedEvent[] = [];
      for (const [index, item] of batch.entries()) {
        const outcome = outcomes[index] ?? { kind: 'deferred' };
        if (outcome.kind === 'deferred') deferred.push(item);
        else item.resolve(outcome);
      }
      this.#queue.putBack(deferred);
    }
    this.#isWriting = false;
  }
}

/**
 * Writes a batch. After a failure, writes its events one by one, because one refused event or a deadlock must not fail the
 * others. If the connection broke during the commit, this also finds the events that were written. Statements run one after
 * another, on one connection of the pool, which leaves the others for deliveries.
 */
async function writeBatch(
  events: readonly NewEvent[],
  write: (some: readonly NewEvent[]) => Promise<Outcome[]>,
): Promise<Outcome[]> {
  try {
    return await write(events);
  } catch (error) {
    const isFinal = !isTransient(error) || isTimeout(error);
    if (events.length === 1 && isFinal) return [{ kind: 'failed', error }];
  }
  const until = performance.now() + ONE_BY_ONE_MS;
  const outcomes: Outcome[] = [];
  for (const event of events) {
    const isLate = performance.now() > until;
    const failed = (error: unknown): Outcome[] => [{ kind: 'failed', error }];
    outcomes.push(...(isLate ? failed(new PublishingBusyError()) : await write([event]).catch(failed)));
  }
  return outcomes;
}

/** The queue is full, or the event could not be written in time. The publisher may retry. */
class PublishingBusyError extends DomainError {
  readonly code = 'SERVICE_UNAVAILABLE';

  constructor() {
    super('events are published faster than they can be written; try again in some seconds');
  }
}
