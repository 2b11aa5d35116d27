import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { Batcher } from '../database/batcher.ts';
import type { Database } from '../database/client.ts';
import { isTimeout, isTransient } from '../database/errors.ts';
import type { NewEvent } from '../database/insert-events.ts';
import { knownEvents } from '../database/known-events.ts';
import { type Queryable, transaction } from '../database/transaction.ts';
import { unattemptedDeliveries } from '../database/unattempted-deliveries.ts';
import { uuid7 } from '../database/uuid7.ts';
import type { Mismatch } from './compile-schema.ts';
import type { DeliveryMessage } from './delivery-message.ts';
import type { EventBus } from './event-bus.ts';
import { EventCatalogue } from './event-catalogue.ts';
import { EventDataInvalidError } from './event-data-invalid-error.ts';
import { eventMetrics } from './event-metrics.ts';
import { EventWriter, fittingCount, type MatchedEvent, warnOfSkipped } from './event-writer.ts';
import { publishOrWait, toMessage } from './publish-deliveries.ts';
import { PublishingBusyError } from './publishing-busy-error.ts';
import type { SchemaThread } from './schema-thread.ts';

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
  readonly bus: EventBus;
  readonly schemaThread: SchemaThread;
  readonly log: Logger;
  readonly metrics: Registry;
};

type Outcome =
  | { readonly kind: 'written'; readonly rowId: string; readonly messages: readonly DeliveryMessage[] }
  | { readonly kind: 'mismatch'; readonly mismatch: Mismatch }
  | { readonly kind: 'failed'; readonly error: unknown };

/** The dispatcher's, for the same reasons. */
const MAX_BATCH = 64;
const MAX_BATCH_BYTES = 8 * 1024 * 1024;
/** Of all the events that wait in this process, those being written too: what they weigh is their data and this. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
const EVENT_BYTES = 1_024;
/** After a failed batch, its events are written one by one for so long. */
const ONE_BY_ONE_MS = 10_000;

/** To be called once for each process. Events that come together are written together, on one connection of the pool. */
export function createPublishEvent(services: Services): PublishEvent {
  const writer = new EventWriter(services.bus);
  const catalogue = new EventCatalogue(services.schemaThread, services.log);
  const counts = eventMetrics(services.metrics);
  const writeInTurn = createQueue((events) => writeBatch(events, write));

  async function write(events: readonly NewEvent[]): Promise<Outcome[]> {
    const { pool } = services.database;
    const mismatches = await catalogue.findMismatches(pool, events);
    const matched = await writer.match(
      pool,
      events.filter(({ id }) => !mismatches.has(id)),
    );
    const known = new Map<string, string>();
    const messages: DeliveryMessage[] = [];
    for (let rest: readonly MatchedEvent[] = matched; rest.length > 0; ) {
      const part = rest.slice(0, fittingCount(rest));
      const written = await transaction(pool, (db) => writeMatched(db, part));
      for (const [id, rowId] of written.known) known.set(id, rowId);
      messages.push(...written.messages);
      rest = rest.slice(part.length);
    }
    counts.written('graphql', { matched, isKnown: (id) => known.has(id) && known.get(id) !== id });
    warnOfSkipped(
      services.log,
      matched.filter(({ event }) => !known.has(event.id)),
    );
    return events.map(({ id, tenant, eventId }) => {
      const mismatch = mismatches.get(id);
      if (mismatch !== undefined) return { kind: 'mismatch', mismatch };
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
    const outcome = await writeInTurn(event);
    if (outcome.kind === 'failed') throw outcome.error;
    if (outcome.kind === 'mismatch') throw new EventDataInvalidError(outcome.mismatch);
    await publishOrWait(services, outcome.messages, begun);
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
  return (await unattemptedDeliveries(db, { eventRowIds, maxDataBytes })).map((delivery) => toMessage(delivery));
}

/** Writes events in batches, and refuses one with a PublishingBusyError while too many wait. */
function createQueue(write: (events: readonly NewEvent[]) => Promise<Outcome[]>) {
  const bytesOf = ({ data }: NewEvent) => data.length + EVENT_BYTES;
  const batcher = new Batcher<NewEvent, Outcome>({ maxItems: MAX_BATCH, maxBytes: MAX_BATCH_BYTES, bytesOf, write });
  let waitingBytes = 0;
  return async (event: NewEvent): Promise<Outcome> => {
    const bytes = bytesOf(event);
    if (waitingBytes + bytes > MAX_WAITING_BYTES) throw new PublishingBusyError();
    waitingBytes += bytes;
    try {
      return await batcher.add(event);
    } finally {
      waitingBytes -= bytes;
    }
  };
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
