import { matchingSubscriptions } from '../database/matching-subscriptions.ts';
import type { Queryable } from '../database/transaction.ts';
import type { DeliveryMessage } from '../events/delivery-message.ts';
import { patternsOf } from '../events/event-type.ts';
import { compileFilter } from '../events/payload-filter.ts';
import { recordEvent } from '../events/record-event.ts';

export type SubscriptionEvent = {
  readonly tenant: string;
  /** Named in the event's data, and the one subscription that does not get it. */
  readonly subscriptionId: string;
  readonly type: `webhook_subscription.${'failing' | 'recovered' | 'deactivated'}`;
  readonly data: Readonly<Record<string, unknown>>;
};

/**
 * Records an event about a subscription, in the transaction of what it tells of, for the tenant's subscriptions that
 * want it. Returns the messages to publish once that is committed. The transaction holds the state of one subscription
 * and must lock no other: two that fail together would wait for each other.
 */
export async function recordSubscriptionEvent(db: Queryable, event: SubscriptionEvent): Promise<DeliveryMessage[]> {
  const { tenant, subscriptionId, type } = event;
  const matching = await matchingSubscriptions(db, { tenant, patterns: patternsOf(type) });
  const data = JSON.stringify({ subscriptionId, ...event.data });
  // As whoever gets it reads it.
  const parsed: unknown = JSON.parse(data);
  const subscriptionIds = matching
    .filter(({ id, filter }) => id !== subscriptionId && (filter === null || compileFilter(filter)(parsed)))
    .map(({ id }) => id);
  // Small enough to go with any message.
  return recordEvent(db, { tenant, type, data, subscriptionIds }, { maxDataBytes: data.length * 4, isTest: false });
}
