import type { Logger } from 'pino';
import { Batcher } from '../database/batcher.ts';
import type { Database } from '../database/client.ts';
import type { NewEvent } from '../database/insert-events.ts';
import { knownEvents } from '../database/known-events.ts';
import { type Queryable, transaction } from '../database/transaction.ts';
import { uuid7 } from '../database/uuid7.ts';
import type { Mismatch } from './compile-schema.ts';
import type { DeliveryMessage } from './delivery-message.ts';
import type { EventBus } from './event-bus.ts';
import { EventCatalogue } from './event-catalogue.ts';
import { EventDataInvalidError } from './event-data-invalid-error.ts';
import { EventWriter } from './event-writer.ts';
import { publishOrWait } from './publish-deliveries.ts';

export type EventToPublish = Pick<NewEvent, 'tenant' | 'type' | 'data'> & {
  readonly eventId: string | undefined;
  /** Default: now. */
  readonly occurredAt: Date | undefined;
};

/**
 * Writes an event and its deliveries, and enqueues those; resolves with the event's row. That is an older one if its id is
 * known. Throws an EventDataInvalidError.
 */
export type PublishEvent = (event: EventToPublish) => Promise<string>;

type Services = { readonly database: Database; readonly bus: EventBus; readonly log: Logger };

type Outcome =
  | { readonly kind: 'written'; readonly rowId: string; readonly messages: readonly DeliveryMessage[] }
  | { readonly kind: 'mismatch'; readonly mismatch: Mismatch }
  | { readonly kind: 'failed'; readonly error: unknown };

/** The dispatcher's, for the same reasons. */
const MAX_BATCH = 64;
const MAX_BATCH_BYTES = 8 * 1024 * 1024;

/** To be called once for each process. Events that come together are written together, on one connection of the pool. */
export function createPublishEvent(services: Services): PublishEvent {
  const writer = new EventWriter(services.bus);
  const catalogue = new EventCatalogue(services.log);
  const batcher = new Batcher<NewEvent, Outcome>({
    maxItems: MAX_BATCH,
    maxBytes: MAX_BATCH_BYTES,
    bytesOf: ({ data }) => data.length,
    write: (events) => writeBatch(services.database, { events, write: (db, some) => write(db, some) }),
  });

  async function write(db: Queryable, events: readonly NewEvent[]): Promise<Outcome[]> {
    const mismatches = await catalogue.findMismatches(db, events);
    const { messages, knownIds } = await writer.write(
      db,
      events.filter(({ id }) => !mismatches.has(id)),
    );
    const known = await knownEvents(
      db,
      events.filter(({ id }) => knownIds.includes(id)),
    );
    return events.map(({ id, tenant, eventId }) => {
      const mismatch = mismatches.get(id);
      if (mismatch !== undefined) return { kind: 'mismatch', mismatch };
      const rowId = known.get(id);
      if (rowId !== undefined) return { kind: 'written', rowId, messages: [] };
      const own = messages.filter((message) => message.eventId === eventId && message.tenant === tenant);
      return { kind: 'written', rowId: id, messages: own };
    });
  }

  return async ({ tenant, type, data, eventId, occurredAt }) => {
    const now = Date.now();
    const id = uuid7(now);
    const event = { id, tenant, eventId: eventId ?? id, type, occurredAt: occurredAt ?? new Date(now), data };
    const outcome = await batcher.add(event);
    if (outcome.kind === 'failed') throw outcome.error;
    if (outcome.kind === 'mismatch') throw new EventDataInvalidError(outcome.mismatch);
    await publishOrWait(services, outcome.messages, now);
    return outcome.rowId;
  };
}

type Batch = {
  readonly events: readonly NewEvent[];
  readonly write: (db: Queryable, events: readonly NewEvent[]) => Promise<Outcome[]>;
};

/** What one event is refused for, or a deadlock, is not the others' fault: after a failure each is written by itself. */
async function writeBatch({ pool }: Database, { events, write }: Batch): Promise<Outcome[]> {
  const attempt = (some: readonly NewEvent[]) => transaction(pool, (db) => write(db, some));
  const fail = (error: unknown): Outcome[] => [{ kind: 'failed', error }];
  try {
    return await attempt(events);
  } catch (error) {
    if (events.length === 1) return fail(error);
    return (await Promise.all(events.map((event) => attempt([event]).catch(fail)))).flat();
  }
}
