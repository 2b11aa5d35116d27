import type { Logger } from 'pino';
import type { DeliveryMessage } from '../delivery/queue/message.ts';
import { insertDeliveries, type NewDelivery } from '../delivery/queue/store.ts';
import { yieldEventLoop } from '../lib/event-loop.ts';
import { uuid7, uuid7Time } from '../lib/uuid7.ts';
import type { NatsClient } from '../nats/connection.ts';
import { StreamDepth } from '../nats/metrics.ts';
import type { Queryable } from '../postgres/client.ts';
import {
  type Match,
  type MatchedSubscription,
  SubscriptionIndex,
  SubscriptionIndexes,
} from './matching/subscription-index.ts';
import { parseData } from './parse.ts';
import { insertEvents, type NewEvent } from './store.ts';

type WrittenEvents = {
  /** To be published once the transaction is committed. If they never are, the sweeper finds the deliveries lost. */
  readonly messages: DeliveryMessage[];
  /** Of the events that had been written before; nothing was done about them. */
  readonly knownIds: readonly string[];
};

/** An event, and who wants it. */
export type MatchedEvent = Match & { readonly event: NewEvent };

/**
 * Of one transaction, so that events of others do not wait long for it. One event is never split: how many deliveries it
 * makes is limited by MAX_SUBSCRIPTIONS_PER_TENANT.
 */
export const MAX_DELIVERIES = 1_000;
/**
 * Of one event so many deliveries are published with it; the rest is queued, and released as senders have room, so that
 * an event for very many subscriptions does not stand in JetStream before the events of others.
 */
const PUBLISHED_AT_ONCE = 100;
/** While senders have more than they can take, that is so much less, and counts for all the tenant's events in a batch. */
const PUBLISHED_WHEN_CROWDED = 20;
type InlineLimits = Pick<NatsClient, 'maxInlineDataBytes' | 'maxFanOutBytes'>;

/** Some 300 bytes each. */
const MAX_INDEX_WEIGHT = 1_000_000;

/** Writes events and one delivery for each webhook subscription that wants them. */
export class EventWriter {
  readonly #bus: InlineLimits;
  readonly #depth: StreamDepth;
  readonly #indexes = new SubscriptionIndexes(MAX_INDEX_WEIGHT);

  constructor(bus: InlineLimits & Pick<NatsClient, 'withJetStreamManager' | 'names'>) {
    this.#bus = bus;
    this.#depth = new StreamDepth(bus);
  }

  /**
   * Finds who wants these events, by the settings of now: those whose mutations have answered before are among them. Takes
   * its time, so it is not for a transaction.
   */
  async match(db: Queryable, events: readonly NewEvent[]): Promise<MatchedEvent[]> {
    if (events.length === 0) return [];
    const indexes = await this.#indexes.update(db, new Set(events.map((event) => event.tenant)));
    const matched: MatchedEvent[] = [];
    for (const event of events) {
      await yieldEventLoop();
      // Somebody else may bring the indexes forward in between: each event has the version it was matched at.
      const index = indexes.get(event.tenant) ?? new SubscriptionIndex();
      matched.push({ event, ...(await index.match(event.type, () => parseData(event.data))) });
    }
    return matched;
  }

  /** To be called in a transaction. */
  async write(db: Queryable, matched: readonly MatchedEvent[]): Promise<WrittenEvents> {
    if (matched.length === 0) return { messages: [], knownIds: [] };
    const rows = matched.map(({ event, version, filterBudgetExhaustedAt }) => ({
      ...event,
      matchedVersion: version,
      filterBudgetExhaustedAt,
    }));
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
    const isCrowded = this.#depth.isCrowded();
    const published = new Map<string, number>();
    for (const { event, subscriptions } of matched) {
      const atOnce = Math.min(subscriptions.length, PUBLISHED_AT_ONCE);
      const data = this.#isInline(event.data.length, atOnce) ? event.data : undefined;
      for (const [index, subscription] of subscriptions.entries()) {
        const id = deliveryId(event.id, subscription.id);
        const { tenant, type: eventType } = event;
        const before = published.get(tenant) ?? 0;
        const isQueued = index >= PUBLISHED_AT_ONCE || (isCrowded && before >= PUBLISHED_WHEN_CROWDED);
        published.set(tenant, before + 1);
        deliveries.push({ id, tenant, subscriptionId: subscription.id, eventRowId: event.id, eventType, isQueued });
        if (!isQueued) messages.push(firstMessage(event, { deliveryId: id, subscription, data }));
      }
    }
    if (deliveries.length === 0) return [];
    const enqueued = await insertDeliveries(db, { deliveries, isTest: false });
    return messages.filter((message) => enqueued.has(message.deliveryId));
  }

  /** Whether data of this size goes with the messages of its event, or is read from Postgres by the senders. */
  #isInline(bytes: number, messages: number): boolean {
    return bytes <= this.#bus.maxInlineDataBytes && bytes * messages <= this.#bus.maxFanOutBytes;
  }
}

type FirstMessage = Pick<DeliveryMessage, 'deliveryId' | 'data'> & { readonly subscription: MatchedSubscription };

function firstMessage(event: NewEvent, { deliveryId: id, subscription, data }: FirstMessage): DeliveryMessage {
  return {
    deliveryId: id,
    tenant: event.tenant,
    subscriptionId: subscription.id,
    subscriptionVersion: subscription.version,
    eventId: event.eventId,
    eventType: event.type,
    occurredAt: event.occurredAt.toISOString(),
    enqueueCount: 1,
    mayBeDuplicate: false,
    isProbe: false,
    isTest: false,
    sendAt: undefined,
    data,
  };
}

/** How many of these events, from the first, one transaction may write: at least one. */
export function fittingCount(matched: readonly MatchedEvent[]): number {
  let deliveries = 0;
  const end = matched.findIndex(({ subscriptions }, index) => {
    deliveries += subscriptions.length;
    return index > 0 && deliveries > MAX_DELIVERIES;
  });
  return end < 0 ? matched.length : end;
}

/** Of events that filters were skipped for; nothing of their data is said. */
export function warnOfExhaustedFilterBudget(log: Logger, matched: readonly MatchedEvent[]): void {
  for (const { event, filterBudgetExhaustedAt } of matched) {
    if (filterBudgetExhaustedAt === undefined) continue;
    log.warn(
      { tenant: event.tenant, eventId: event.eventId, subscriptionId: filterBudgetExhaustedAt },
      'the payload filters of an event took too many steps; those from this subscription on count as not fulfilled',
    );
  }
}

/** The id of the delivery of an event (row) to a subscription: always the same, so that it is never made twice. */
export function deliveryId(eventRowId: string, subscriptionId: string): string {
  return uuid7(uuid7Time(eventRowId), `${eventRowId}:${subscriptionId}`);
}
