import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { type DeliveryMessage, publishOrRequeue, toDeliveryMessage } from '../delivery/queue/message.ts';
import { unattemptedDeliveries } from '../delivery/queue/store.ts';
import { DomainError } from '../lib/errors.ts';
import { type Queueable, TenantQueue } from '../lib/tenant-queue.ts';
import { uuid7 } from '../lib/uuid7.ts';
import type { NatsClient } from '../nats/connection.ts';
import { type Database, type Queryable, transaction } from '../postgres/client.ts';
import { isTimeout, isTransient } from '../postgres/errors.ts';
import type { Mismatch } from './catalogue/compile.ts';
import type { SchemaThread } from './catalogue/schema-thread.ts';
import { EventDataInvalidError, EventValidator } from './catalogue/validator.ts';
import { eventMetrics } from './metrics.ts';
import { knownEvents, type NewEvent } from './store.ts';
import { EventWriter, fittingCount, MAX_DELIVERIES, type MatchedEvent, warnOfExhaustedFilterBudget } from './writer.ts';

export type EventToPublish = Pick<NewEvent, 'tenant' | 'type' | 'data'> & {
  readonly eventId: string | undefined;
  /** Default: now. */
  readonly occurredAt: Date | undefined;
};

/**
 * Writes an event and its deliveries, and enqueues those; resolves with the event's row. That is an older one if its id is
 * known. Throws an EventDataInvalidError or a PublishingBusyError.
 */
export type PublishEvent = (event: EventToPublish) => Promise<string>;

type Services = {
  readonly database: Database;
  readonly bus: NatsClient;
  readonly schemaThread: SchemaThread;
  readonly log: Logger;
  readonly metrics: Registry;
};

type Outcome =
  | { readonly kind: 'written'; readonly rowId: string; readonly messages: readonly DeliveryMessage[] }
  | { readonly kind: 'mismatch'; readonly mismatch: Mismatch }
  | { readonly kind: 'failed'; readonly error: unknown }
  /** Nothing was done: it would have made too many deliveries for one transaction. */
  | { readonly kind: 'later' };

type FinalOutcome = Exclude<Outcome, { readonly kind: 'later' }>;

/** Limits of one transaction. */
const BATCH = { events: 64, deliveries: MAX_DELIVERIES, bytes: 4 * 1024 * 1024 } as const;
/** Of all the events that wait in this process, those being written too: what they weigh is their data and this. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
const EVENT_BYTES = 1_024;
/** How many times the bytes that are left a tenant's events may weigh: seven eighths alone, so that there is room for another tenant. */
const TENANT_SHARE = 7;
/** After a failed batch, its events are written one by one for so long. */
const ONE_BY_ONE_MS = 10_000;

/** To be called once for each process. Events that come together are written together, on one connection of the pool. */
export function createPublishEvent(services: Services): PublishEvent {
  const writer = new EventWriter(services.bus);
  const catalogue = new EventValidator(services.schemaThread, services.log);
  const counts = eventMetrics(services.metrics);
  const queue = new PublishQueue((events) => writeBatch(events, write));

  async function write(events: readonly NewEvent[]): Promise<Outcome[]> {
    const { pool } = services.database;
    const mismatches = await catalogue.findMismatches(pool, events);
    const matched = await writer.match(
      pool,
      events.filter(({ id }) => !mismatches.has(id)),
    );
    for (const { event, subscriptions } of matched) queue.learn(event.tenant, subscriptions.length);
    const part = matched.slice(0, fittingCount(matched));
    const later = new Set(matched.slice(part.length).map(({ event }) => event.id));
    const { known, messages } = await transaction(pool, (db) => writeMatched(db, part));
    counts.written('graphql', { matched: part, isKnown: (id) => known.has(id) && known.get(id) !== id });
    warnOfExhaustedFilterBudget(
      services.log,
      part.filter(({ event }) => !known.has(event.id)),
    );
    return events.map(({ id, tenant, eventId }) => {
      const mismatch = mismatches.get(id);
      if (mismatch !== undefined) return { kind: 'mismatch', mismatch };
      if (later.has(id)) return { kind: 'later' };
      const rowId = known.get(id) ?? id;
      const own = messages.filter((message) => message.eventId === eventId && message.tenant === tenant);
      return { kind: 'written', rowId, messages: rowId === id ? own : [] };
    });
  }

  async function writeMatched(db: Queryable, matched: readonly MatchedEvent[]) {
    const { messages, knownIds } = await writer.write(db, matched);
    const events = matched.map(({ event }) => event);
    const known = await knownEvents(
      db,
      events.filter(({ id }) => knownIds.includes(id)),
    );
    const left = await unpublished(db, { known, maxDataBytes: services.bus.maxInlineDataBytes });
    return { known, messages: [...messages, ...left] };
  }

  return async ({ tenant, type, data, eventId, occurredAt }) => {
    const begun = performance.now();
    const now = services.database.clock.now();
    const id = uuid7(now);
    const event = { id, tenant, eventId: eventId ?? id, type, occurredAt: occurredAt ?? new Date(now), data };
    const outcome = await queue.add(event);
    if (outcome.kind === 'failed') throw outcome.error;
    if (outcome.kind === 'mismatch') throw new EventDataInvalidError(outcome.mismatch);
    await publishOrRequeue(services, outcome.messages, begun);
    return outcome.rowId;
  };
}

/** Of the rows that are known because we wrote them: the connection broke while they were committed. */
async function unpublished(
  db: Queryable,
  { known, maxDataBytes }: { readonly known: ReadonlyMap<string, string>; readonly maxDataBytes: number },
): Promise<DeliveryMessage[]> {
  const eventRowIds = [...known].flatMap(([id, rowId]) => (id === rowId ? [id] : []));
  if (eventRowIds.length === 0) return [];
  return (await unattemptedDeliveries(db, { eventRowIds, maxDataBytes })).map((delivery) =>
    toDeliveryMessage(delivery),
  );
}

type WaitingEvent = Queueable & { readonly event: NewEvent; readonly resolve: (outcome: FinalOutcome) => void };

/** Writes events in batches of one transaction, tenants in turn, and refuses one with a PublishingBusyError while too many wait. */
class PublishQueue {
  readonly #write: (events: readonly NewEvent[]) => Promise<Outcome[]>;
  readonly #queue = new TenantQueue<WaitingEvent>({ maxEvents: Number.POSITIVE_INFINITY, maxBytes: MAX_WAITING_BYTES });
  /** Of the events that wait or are being written. */
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
    if (ofTenant > TENANT_SHARE * (MAX_WAITING_BYTES - this.#bytes - bytes)) throw new PublishingBusyError();
    this.#count(tenant, bytes);
    try {
      return await new Promise((resolve) => {
        this.#lastKey += 1;
        this.#queue.add({ key: this.#lastKey, tenant, bytes, event, resolve });
        if (this.#isWriting) return;
        this.#isWriting = true;
        // Later in this turn of the event loop, so that what arrives together is written together.
        setImmediate(() => void this.#writeAll());
      });
    } finally {
      this.#count(tenant, -bytes);
    }
  }

  /** How many deliveries an event of this tenant makes. */
  learn(tenant: string, deliveries: number): void {
    this.#queue.learn(tenant, deliveries);
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
      const later: WaitingEvent[] = [];
      for (const [index, item] of batch.entries()) {
        const outcome = outcomes[index] ?? { kind: 'later' };
        if (outcome.kind === 'later') later.push(item);
        else item.resolve(outcome);
      }
      this.#queue.putBack(later);
    }
    this.#isWriting = false;
  }
}

/**
 * What one event is refused for, or a deadlock, is not the others' fault: after a failure each is written by itself, and
 * finds out whether it had been, should the connection have broken. On one connection: the others are for delivering.
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

/** More events wait to be written than may, or they could not be written in time: the publisher may try again. */
class PublishingBusyError extends DomainError {
  readonly code = 'SERVICE_UNAVAILABLE';

  constructor() {
    super('events are published faster than they can be written; try again in a moment');
  }
}
