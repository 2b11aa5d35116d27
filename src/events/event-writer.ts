import { LRUCache } from 'lru-cache';
import { changedSubscriptions } from '../database/changed-subscriptions.ts';
import { insertDeliveries, type NewDelivery } from '../database/insert-deliveries.ts';
import { insertEvents, type NewEvent } from '../database/insert-events.ts';
import type { Queryable } from '../database/transaction.ts';
import { deliveryId } from './delivery-id.ts';
import type { DeliveryMessage } from './delivery-message.ts';
import { type MatchedSubscription, SubscriptionIndex } from './subscription-index.ts';

type WrittenEvents = {
  /** To be published once the transaction is committed. If they never are, the sweeper finds the deliveries lost. */
  readonly messages: DeliveryMessage[];
  /** Of the events that had been written before; nothing was done about them. */
  readonly knownIds: readonly string[];
};

type MatchedEvent = {
  readonly event: NewEvent;
  /** The tenant's version that it was matched at. */
  readonly version: number;
  readonly subscriptions: readonly MatchedSubscription[];
};

/** The indexes of the tenants seen last are kept, up to so much in all (some 300 bytes each). */
const MAX_INDEX_WEIGHT = 1_000_000;

/** Writes events and one delivery for each webhook subscription that wants them. */
export class EventWriter {
  readonly #bus: { readonly maxInlineDataBytes: number };
  readonly #indexes = new LRUCache<string, SubscriptionIndex>({
    maxSize: MAX_INDEX_WEIGHT,
    sizeCalculation: (index) => index.weight + 1,
  });

  constructor(bus: { readonly maxInlineDataBytes: number }) {
    this.#bus = bus;
  }

  /** To be called in a transaction. */
  async write(db: Queryable, events: readonly NewEvent[]): Promise<WrittenEvents> {
    if (events.length === 0) return { messages: [], knownIds: [] };
    const indexes = await this.#updatedIndexes(db, new Set(events.map((event) => event.tenant)));
    // All of them before the next wait, in which somebody else may bring the indexes forward: an event's version has to
    // be the one it was matched at.
    const matched = events.map((event) => matchEvent(event, indexes.get(event.tenant)));
    const rows = matched.map(({ event, version }) => ({ ...event, matchedVersion: version }));
    const newIds = await insertEvents(db, rows);
    const isNew = ({ id }: NewEvent) => newIds.has(id);
    return {
      messages: await this.#fanOut(
        db,
        matched.filter(({ event }) => isNew(event)),
      ),
      knownIds: events.filter((event) => !isNew(event)).map(({ id }) => id),
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
    const enqueued = await insertDeliveries(db, { deliveries, jumpsQueue: false });
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
      sendAt: undefined,
      data: event.data.length <= this.#bus.maxInlineDataBytes ? event.data : undefined,
    };
  }

  /** Reads what changed since the last time, so that a subscription counts from the moment its mutation has answered. */
  async #updatedIndexes(db: Queryable, tenants: ReadonlySet<string>): Promise<Map<string, SubscriptionIndex>> {
    const indexes = new Map(
      [...tenants].map((tenant) => [tenant, this.#indexes.get(tenant) ?? new SubscriptionIndex()] as const),
    );
    const known = new Map([...indexes].map(([tenant, index]) => [tenant, index.version] as const));
    for (const change of await changedSubscriptions(db, known)) indexes.get(change.tenant)?.apply(change);
    // The cache may decline to keep them; this batch goes by what it has read.
    for (const [tenant, index] of indexes) this.#indexes.set(tenant, index);
    return indexes;
  }
}

function matchEvent(event: NewEvent, index = new SubscriptionIndex()): MatchedEvent {
  let parsed: { readonly data: unknown } | undefined;
  const readData = () => (parsed ??= { data: JSON.parse(event.data.toString()) as unknown }).data;
  return { event, version: index.version, subscriptions: index.match(event.type, readData) };
}
