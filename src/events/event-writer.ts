import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Logger } from 'pino';
import { insertDeliveries, type NewDelivery } from '../database/insert-deliveries.ts';
import { insertEvents, type NewEvent } from '../database/insert-events.ts';
import type { Queryable } from '../database/transaction.ts';
import { deliveryId } from './delivery-id.ts';
import type { DeliveryMessage } from './delivery-message.ts';
import { parseData } from './event-data.ts';
import { type Match, type MatchedSubscription, SubscriptionIndex } from './subscription-index.ts';
import { SubscriptionIndexes } from './subscription-indexes.ts';

type WrittenEvents = {
  /** To be published once the transaction is committed. If they never are, the sweeper finds the deliveries lost. */
  readonly messages: DeliveryMessage[];
  /** Of the events that had been written before; nothing was done about them. */
  readonly knownIds: readonly string[];
};

/** An event, and who wants it. */
export type MatchedEvent = Match & {
  readonly event: NewEvent;
  /** The tenant's version that it was matched at. */
  readonly version: number;
};

/** Some 300 bytes each. */
const MAX_INDEX_WEIGHT = 1_000_000;
/** Matching an event can take some 50 ms; after so much of it others get a turn of the event loop. */
const MAX_TURN_MS = 20;

/** Writes events and one delivery for each webhook subscription that wants them. */
export class EventWriter {
  readonly #bus: { readonly maxInlineDataBytes: number };
  readonly #indexes = new SubscriptionIndexes(MAX_INDEX_WEIGHT);

  constructor(bus: { readonly maxInlineDataBytes: number }) {
    this.#bus = bus;
  }

  /**
   * Finds who wants these events, by the settings of now: those whose mutations have answered before are among them. Takes
   * its time, so it is not for a transaction.
   */
  async match(db: Queryable, events: readonly NewEvent[]): Promise<MatchedEvent[]> {
    if (events.length === 0) return [];
    const indexes = await this.#indexes.update(db, new Set(events.map((event) => event.tenant)));
    const matched: MatchedEvent[] = [];
    let turnBegan = performance.now();
    for (const event of events) {
      // Somebody else may bring the indexes forward in between: each event has the version it was matched at.
      matched.push(matchEvent(event, indexes.get(event.tenant)));
      if (performance.now() - turnBegan < MAX_TURN_MS) continue;
      await nextTurn();
      turnBegan = performance.now();
    }
    return matched;
  }

  /** To be called in a transaction. */
  async write(db: Queryable, matched: readonly MatchedEvent[]): Promise<WrittenEvents> {
    if (matched.length === 0) return { messages: [], knownIds: [] };
    const rows = matched.map(({ event, version, skippedFrom }) => ({ ...event, matchedVersion: version, skippedFrom }));
    const newIds = await insertEvents(db, rows);
    const isNew = ({ event }: MatchedEvent) => newIds.has(event.id);
    return {
      messages: await this.#fanOut(db, matched.filter(isNew)),
      knownIds: matched.filter((one) => !isNew(one)).map(({ event }) => event.id),
    };
  }

  async #fanOut(db: Queryable, matched: readonly MatchedEvent[]): Promise<DeliveryMessage[]> {
    const deliveries: NewDelivery[] = [];
    const messages: DeliveryMessage[] = [];
    for (const { event, subscriptions } of matched) {
      for (const subscription of subscriptions) {
        const id = deliveryId(event.id, subscription.id);
        const { tenant, type: eventType } = event;
        deliveries.push({ id, tenant, subscriptionId: subscription.id, eventRowId: event.id, eventType });
        messages.push(this.#firstMessage(event, { deliveryId: id, subscription }));
      }
    }
    if (deliveries.length === 0) return [];
    const enqueued = await insertDeliveries(db, { deliveries, isTest: false });
    return messages.filter((message) => enqueued.has(message.deliveryId));
  }

  #firstMessage(
    event: NewEvent,
    to: { readonly deliveryId: string; readonly subscription: MatchedSubscription },
  ): DeliveryMessage {
    return {
      deliveryId: to.deliveryId,
      tenant: event.tenant,
      subscriptionId: to.subscription.id,
      subscriptionVersion: to.subscription.version,
      eventId: event.eventId,
      eventType: event.type,
      occurredAt: event.occurredAt.toISOString(),
      enqueueCount: 1,
      mayBeDuplicate: false,
      isProbe: false,
      isTest: false,
      sendAt: undefined,
      data: event.data.length <= this.#bus.maxInlineDataBytes ? event.data : undefined,
    };
  }
}

function matchEvent(event: NewEvent, index = new SubscriptionIndex()): MatchedEvent {
  return { event, version: index.version, ...index.match(event.type, () => parseData(event.data)) };
}

/** Of events that filters were skipped for; nothing of their data is said. */
export function warnOfSkipped(log: Logger, matched: readonly MatchedEvent[]): void {
  for (const { event, skippedFrom } of matched) {
    if (skippedFrom === undefined) continue;
    log.warn(
      { tenant: event.tenant, eventId: event.eventId, subscriptionId: skippedFrom },
      'the payload filters of an event took too many steps; those from this subscription on count as not fulfilled',
    );
  }
}
