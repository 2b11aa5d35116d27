import type { Logger } from 'pino';
import { type DeliveryMessage, PUBLISHED_AT_ONCE } from '../delivery/queue/message.ts';
import type { NewDelivery } from '../delivery/queue/store.ts';
import type { DeliveryStream } from '../delivery/queue/stream.ts';
import { groupBy } from '../lib/collections.ts';
import { yieldEventLoop } from '../lib/event-loop.ts';
import { traceFields } from '../lib/tracing.ts';
import { uuid7, uuid7Time } from '../lib/uuid7.ts';
import type { Queryable } from '../postgres/client.ts';
import type { Mismatch } from './catalogue/compile.ts';
import type { SchemaThread } from './catalogue/schema-thread.ts';
import { EventValidator } from './catalogue/validator.ts';
import { insertBatch, type KnownVersions } from './insert-batch.ts';
import {
  type Match,
  type MatchedSubscription,
  SubscriptionIndex,
  SubscriptionIndexes,
} from './matching/subscription-index.ts';
import { parseData } from './parse.ts';
import { knownEvents, type NewEvent } from './store.ts';

type InsertedEvents = {
  /** Messages for the caller to publish. If that fails, the sweeper detects lost messages and requeues their deliveries. */
  readonly messages: DeliveryMessage[];
  /** Ids of events that had been written before; they are left unchanged. */
  readonly knownIds: readonly string[];
};

/** An event and its matching subscriptions. */
export type MatchedEvent = Match & { readonly event: NewEvent };

/**
 * Maximum cost of the events in one transaction, in deliveries. Bounds the duration of matching and writing, for which other
 * tenants' events wait. One event may exceed it, because an event is never split; MAX_SUBSCRIPTIONS_PER_TENANT limits its
 * deliveries.
 */
const MAX_DELIVERIES = 1_000;
/** Filter steps that cost as much as one delivery: 0.05 to 0.25 ms. */
const STEPS_PER_DELIVERY = 2_500;
/** Limits of the events that one call of `write` gets. */
export const BATCH = { items: 256, deliveries: MAX_DELIVERIES, bytes: 4 * 1024 * 1024 } as const;
/** Maximum deliveries published for all events of a tenant in one batch while the senders have a backlog. */
const PUBLISHED_WITH_BACKLOG = 20;
/** The state of DELIVERIES that the writer depends on. */
type Target = Pick<DeliveryStream, 'maxInlineDataBytes' | 'maxFanOutBytes' | 'isCrowded'>;

export type WrittenBatch = InsertedEvents & {
  /** Events that violate the schema of their type, by id. */
  readonly mismatches: ReadonlyMap<string, Mismatch>;
  readonly written: readonly MatchedEvent[];
  /** Valid events beyond the maximum cost of one transaction. The caller must write them in another one. */
  readonly deferred: readonly NewEvent[];
};

type Services = { readonly deliveries: Target; readonly schemaThread: SchemaThread; readonly log: Logger };

/** `isCurrent`: whether the step must use the settings and schemas of now instead of those cached in this process. */
type Step = { readonly events: readonly NewEvent[]; readonly isCurrent: boolean };

/** Validates events, matches them, and writes them with one delivery per event and matching webhook subscription. */
export class EventWriter {
  readonly #deliveries: Target;
  readonly #validator: EventValidator;
  readonly #indexes = new SubscriptionIndexes();
  readonly #log: Logger;

  constructor({ deliveries, schemaThread, log }: Services) {
    this.#deliveries = deliveries;
    this.#validator = new EventValidator(schemaThread, log);
    this.#log = log;
  }

  /**
   * Writes a batch with the subscriptions and schemas cached in this process. The inserting statement detects outdated
   * versions; then the changes are read and everything is repeated once. A change therefore applies to every event that is
   * passed here after its mutation has returned, and a batch without changes takes one round trip. Validating and matching
   * may take seconds; call this outside a transaction.
   */
  async write(db: Queryable, events: readonly NewEvent[]): Promise<WrittenBatch> {
    // Changes committed after the second reading need not apply, because the events were published before them.
    const batch =
      (await this.#writeIfCurrent(db, { events, isCurrent: false })) ??
      (await this.#writeIfCurrent(db, { events, isCurrent: true }));
    if (batch === undefined) throw new Error('events were not written although no versions were given');
    this.#warnOfExhaustedFilterBudget(batch);
    return batch;
  }

  /** Writes nothing and returns undefined if subscriptions or event types have changed since they were cached. */
  async #writeIfCurrent(db: Queryable, { events, isCurrent }: Step): Promise<WrittenBatch | undefined> {
    const { mismatches, versions } = await this.#validate(db, { events, isCurrent });
    const valid = events.filter(({ id }) => !mismatches.has(id));
    const written = await this.#match(db, { events: valid, isCurrent });
    const known = isCurrent ? undefined : { tenants: tenantVersions(written), eventTypes: versions };
    const inserted = await this.#insert(db, { matched: written, known });
    return inserted && { ...inserted, mismatches, written, deferred: valid.slice(written.length) };
  }

  async #validate(db: Queryable, { events, isCurrent }: Step): ReturnType<EventValidator['validate']> {
    const validation = await this.#validator.validate(db, events, { isCurrent });
    const { mismatches } = validation;
    if (mismatches.size > 0) {
      // An event that was written before is not rejected, because the schema may have changed since then.
      const rejected = events.filter(({ id }) => mismatches.has(id));
      for (const id of (await knownEvents(db, rejected)).keys()) mismatches.delete(id);
    }
    return validation;
  }

  /** Matches the first events, at least one, until they reach the maximum cost of one transaction. */
  async #match(db: Queryable, { events, isCurrent }: Step): Promise<MatchedEvent[]> {
    if (events.length === 0) return [];
    const tenants = new Set(events.map((event) => event.tenant));
    const indexes = isCurrent ? await this.#indexes.update(db, tenants) : await this.#indexes.get(db, tenants);
    const matched: MatchedEvent[] = [];
    let cost = 0;
    for (const event of events) {
      await yieldEventLoop();
      // A concurrent call may update the indexes between two events, so each event has the version that it was matched at.
      const index = indexes.get(event.tenant) ?? new SubscriptionIndex();
      const match = await index.match(event.type, () => parseData(event.data));
      cost += costOf(match);
      if (cost > MAX_DELIVERIES && matched.length > 0) break;
      matched.push({ event, ...match });
    }
    return matched;
  }

  /** Inserts nothing and returns undefined if subscriptions or event types have changed since `known`. */
  async #insert(
    db: Queryable,
    { matched, known }: { readonly matched: readonly MatchedEvent[]; readonly known: KnownVersions | undefined },
  ): Promise<InsertedEvents | undefined> {
    if (matched.length === 0) return { messages: [], knownIds: [] };
    const events = matched.map(({ event, version, filterBudgetExhaustedAt }) => ({
      ...event,
      matchedVersion: version,
      filterBudgetExhaustedAt,
    }));
    const { deliveries, messages } = this.#fanOut(matched);
    const inserted = await insertBatch(db, { events, deliveries, known });
    if (inserted === undefined) return undefined;
    const { newIds, toPublish } = inserted;
    return {
      messages: messages.filter(({ deliveryId: id }) => toPublish.has(id)),
      knownIds: events.flatMap(({ id }) => (newIds.has(id) ? [] : [id])),
    };
  }

  #fanOut(matched: readonly MatchedEvent[]): { deliveries: NewDelivery[]; messages: DeliveryMessage[] } {
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
    return { deliveries, messages };
  }

  /** Whether data of this size is part of the delivery messages; otherwise senders read it from Postgres. */
  #isInline(bytes: number, messages: number): boolean {
    return bytes <= this.#deliveries.maxInlineDataBytes && bytes * messages <= this.#deliveries.maxFanOutBytes;
  }

  /** Logs the new events whose filter budget was exhausted, without their data. */
  #warnOfExhaustedFilterBudget({ written, knownIds }: WrittenBatch): void {
    for (const { event, filterBudgetExhaustedAt } of written) {
      if (filterBudgetExhaustedAt === undefined || knownIds.includes(event.id)) continue;
      this.#log.warn(
        {
          tenant: event.tenant,
          eventId: event.eventId,
          subscriptionId: filterBudgetExhaustedAt,
          ...traceFields(event.traceParent),
        },
        'filter budget exhausted; the filters from this subscription on count as not matching',
      );
    }
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
    traceParent: event.traceParent,
    data,
  };
}

/** The oldest version that an event of each tenant was matched at. */
function tenantVersions(matched: readonly MatchedEvent[]): ReadonlyMap<string, number> {
  const versions = new Map<string, number>();
  for (const { event, version } of matched) {
    versions.set(event.tenant, Math.min(version, versions.get(event.tenant) ?? version));
  }
  return versions;
}

/** The mean cost of the events of each tenant, in deliveries. */
export function costsByTenant(matched: readonly MatchedEvent[]): ReadonlyMap<string, number> {
  const byTenant = groupBy(matched, ({ event }) => event.tenant);
  const costs = [...byTenant].map(([tenant, ofTenant]): [string, number] => {
    const cost = ofTenant.reduce((sum, match) => sum + costOf(match), 0);
    return [tenant, Math.ceil(cost / ofTenant.length)];
  });
  return new Map(costs);
}

/** The cost of matching and writing an event, in deliveries. */
function costOf({ subscriptions, steps }: Match): number {
  return subscriptions.length + steps / STEPS_PER_DELIVERY;
}

/** The id of an event's delivery to a subscription. It is deterministic, so that no delivery is created twice. */
export function deliveryId(eventRowId: string, subscriptionId: string): string {
  return uuid7(uuid7Time(eventRowId), `${eventRowId}:${subscriptionId}`);
}
