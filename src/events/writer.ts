import type { Logger } from 'pino';
import type { DeliveryMessage } from '../delivery/queue/message.ts';
import { insertDeliveries, type NewDelivery } from '../delivery/queue/store.ts';
import type { DeliveryStream } from '../delivery/queue/stream.ts';
import { yieldEventLoop } from '../lib/event-loop.ts';
import { uuid7, uuid7Time } from '../lib/uuid7.ts';
import type { Queryable } from '../postgres/client.ts';
import type { Mismatch } from './catalogue/compile.ts';
import type { EventValidator } from './catalogue/validator.ts';
import {
  type Match,
  type MatchedSubscription,
  SubscriptionIndex,
  SubscriptionIndexes,
} from './matching/subscription-index.ts';
import { parseData } from './parse.ts';
import { insertEvents, knownEvents, type NewEvent } from './store.ts';

type WrittenEvents = {
  /** Publish these after the transaction is committed. If that fails, the sweeper finds their deliveries lost and requeues them. */
  readonly messages: DeliveryMessage[];
  /** Ids of events that had been written before; they are left unchanged. */
  readonly knownIds: readonly string[];
};

/** An event and its matching subscriptions. */
export type MatchedEvent = Match & { readonly event: NewEvent };

/**
 * Deliveries created by one transaction, so that other tenants' events do not wait long for it. An event is never split;
 * MAX_SUBSCRIPTIONS_PER_TENANT limits its deliveries.
 */
export const MAX_DELIVERIES = 1_000;
/**
 * Deliveries of one event that are published with it. The rest are queued and published as senders have capacity, so that
 * an event with very many subscriptions does not delay the events behind it in JetStream.
 */
const PUBLISHED_AT_ONCE = 100;
/** Deliveries published for all events of a tenant in one batch while the senders have a backlog. */
const PUBLISHED_WITH_BACKLOG = 20;
/** The state of DELIVERIES that the writer depends on. */
type Target = Pick<DeliveryStream, 'maxInlineDataBytes' | 'maxFanOutBytes' | 'isCrowded'>;
/** Weight of the cached subscription indexes. One unit takes some 300 bytes. */
const MAX_INDEX_WEIGHT = 1_000_000;

/** Writes events and one delivery of each for every matching webhook subscription. */
export class EventWriter {
  readonly #deliveries: Target;
  readonly #indexes = new SubscriptionIndexes(MAX_INDEX_WEIGHT);

  constructor(deliveries: Target) {
    this.#deliveries = deliveries;
  }

  /**
   * Finds the matching subscriptions by the current settings: changes whose mutations have returned are included. Matching
   * takes time; call this outside a transaction.
   */
  async match(db: Queryable, events: readonly NewEvent[]): Promise<MatchedEvent[]> {
    if (events.length === 0) return [];
    const indexes = await this.#indexes.update(db, new Set(events.map((event) => event.tenant)));
    const matched: MatchedEvent[] = [];
    for (const event of events) {
      await yieldEventLoop();
      // A concurrent call may update the indexes in between: each event records the version it was matched at.
      const index = indexes.get(event.tenant) ?? new SubscriptionIndex();
      matched.push({ event, ...(await index.match(event.type, () => parseData(event.data))) });
    }
    return matched;
  }

  /** Call this in a transaction. */
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
    const hasBacklog = this.#deliveries.isCrowded();
    const published = new Map<string, number>();
    for (const { event, subscriptions } of matched) {
      const atOnce = Math.min(subscriptions.length, PUBLISHED_AT_ONCE);
      const data = this.#isInline(event.data.length, atOnce) ? event.data : undefined;
      for (const [index, subscription] of subscriptions.entries()) {
        const id = deliveryId(event.id, subscription.id);
        const { tenant, type: eventType } = event;
        const before = published.get(tenant) ?? 0;
        const isQueued = index >= PUBLISHED_AT_ONCE || (hasBacklog && before >= PUBLISHED_WITH_BACKLOG);
        published.set(tenant, before + 1);
        deliveries.push({ id, tenant, subscriptionId: subscription.id, eventRowId: event.id, eventType, isQueued });
        if (!isQueued) messages.push(firstMessage(event, { deliveryId: id, subscription, data }));
      }
    }
    if (deliveries.length === 0) return [];
    const enqueued = await insertDeliveries(db, { deliveries, isTest: false });
    return messages.filter((message) => enqueued.has(message.deliveryId));
  }

  /** Whether data of this size is part of the delivery messages; otherwise senders read it from Postgres. */
  #isInline(bytes: number, messages: number): boolean {
    return bytes <= this.#deliveries.maxInlineDataBytes && bytes * messages <= this.#deliveries.maxFanOutBytes;
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

type Steps = { readonly validator: EventValidator; readonly writer: EventWriter };

/** Splits events into those that violate the schema of their type, by id, and the valid ones with their subscriptions. */
export async function validateAndMatch(
  { validator, writer }: Steps,
  db: Queryable,
  events: readonly NewEvent[],
): Promise<{ readonly mismatches: ReadonlyMap<string, Mismatch>; readonly matched: readonly MatchedEvent[] }> {
  const mismatches = await validator.findMismatches(db, events);
  if (mismatches.size > 0) {
    // An event that was written before is not rejected: its schema may have changed since.
    const written = await knownEvents(
      db,
      events.filter(({ id }) => mismatches.has(id)),
    );
    for (const id of written.keys()) mismatches.delete(id);
  }
  const matched = await writer.match(
    db,
    events.filter(({ id }) => !mismatches.has(id)),
  );
  return { mismatches, matched };
}

/** How many of these events, counted from the first, fit into one transaction: at least one. */
export function fittingCount(matched: readonly MatchedEvent[]): number {
  let deliveries = 0;
  const end = matched.findIndex(({ subscriptions }, index) => {
    deliveries += subscriptions.length;
    return index > 0 && deliveries > MAX_DELIVERIES;
  });
  return end < 0 ? matched.length : end;
}

/** Names events whose filter budget was exhausted; logs nothing of their data. */
export function warnOfExhaustedFilterBudget(log: Logger, matched: readonly MatchedEvent[]): void {
  for (const { event, filterBudgetExhaustedAt } of matched) {
    if (filterBudgetExhaustedAt === undefined) continue;
    log.warn(
      { tenant: event.tenant, eventId: event.eventId, subscriptionId: filterBudgetExhaustedAt },
      'filter budget exhausted; the filters from this subscription on count as not matching',
    );
  }
}

/** The id of the delivery of an event (row) to a subscription. It is deterministic, so that no delivery is created twice. */
export function deliveryId(eventRowId: string, subscriptionId: string): string {
  return uuid7(uuid7Time(eventRowId), `${eventRowId}:${subscriptionId}`);
}
