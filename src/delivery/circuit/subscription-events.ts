import { matchingSubscriptions } from '../../events/matching-subscriptions.ts';
import { admitNotice, type Notice, takeOmittedNotice } from './notice-limits.ts';
import type { Queryable } from '../../postgres/transaction.ts';
import type { DeliveryMessage } from '../queue/delivery-message.ts';
import { patternsOf } from '../../events/event-type.ts';
import { compileFilter } from '../../events/matching/payload-filter.ts';
import { recordEvent } from '../../events/record-event.ts';

export type SubscriptionEvent = {
  readonly tenant: string;
  /** Named in the event's data, and the one subscription that does not get it. */
  readonly subscriptionId: string;
  /** Only its host is published: paths and queries of webhook URLs are often secrets. */
  readonly url: string;
  readonly type: `webhook_subscription.${'failing' | 'recovered' | 'deactivated'}`;
  readonly data: Readonly<Record<string, unknown>>;
};

/**
 * Records an event about a subscription, in the transaction of what it tells of, for the tenant's subscriptions that
 * want it. Returns the messages to publish once that is committed: none if the tenant has had enough events of the type
 * within a minute, see `recordOmittedEvent`. The transaction holds the state of one subscription and must lock no other:
 * two that fail together would wait for each other.
 */
export async function recordSubscriptionEvent(db: Queryable, event: SubscriptionEvent): Promise<DeliveryMessage[]> {
  const { tenant, subscriptionId, type, url } = event;
  const data = JSON.stringify({ subscriptionId, host: new URL(url).host, ...event.data });
  const notice = { tenant, subscriptionId, type, data };
  return (await admitNotice(db, notice)) ? record(db, notice) : [];
}

/** The latest notice of a tenant and type beyond the limit of a minute, with the number of the others; undefined if there is none. */
export async function recordOmittedEvent(db: Queryable): Promise<DeliveryMessage[] | undefined> {
  const omitted = await takeOmittedNotice(db);
  if (omitted === undefined) return undefined;
  const { omittedCount, ...notice } = omitted;
  // `as`: it was written above.
  const data = JSON.parse(notice.data) as object;
  return record(db, { ...notice, data: JSON.stringify({ ...data, omittedCount: omittedCount - 1 }) });
}

async function record(db: Queryable, { tenant, subscriptionId, type, data }: Notice): Promise<DeliveryMessage[]> {
  const matching = await matchingSubscriptions(db, { tenant, patterns: patternsOf(type) });
  // As its receivers read it.
  const parsed: unknown = JSON.parse(data);
  const subscriptionIds = matching
    .filter(({ id, filter }) => id !== subscriptionId && (filter === null || compileFilter(filter)(parsed)))
    .map(({ id }) => id);
  // Small enough to go with any message.
  return recordEvent(db, { tenant, type, data, subscriptionIds }, { maxDataBytes: data.length * 4, isTest: false });
}
