import { insertDeliveries } from '../database/insert-deliveries.ts';
import { insertEvents } from '../database/insert-events.ts';
import { matchingSubscriptions } from '../database/matching-subscriptions.ts';
import { returnToWaiting } from '../database/return-to-waiting.ts';
import type { Queryable } from '../database/transaction.ts';
import { uuid7 } from '../database/uuid7.ts';
import { deliveryId } from '../events/delivery-id.ts';
import { patternsOf } from '../events/event-type.ts';

export type SubscriptionEvent = {
  readonly tenant: string;
  /** Named in the event's data, and the one subscription that does not get it. */
  readonly subscriptionId: string;
  readonly type: `webhook_subscription.${'failing' | 'recovered' | 'deactivated'}`;
  readonly data: Readonly<Record<string, unknown>>;
};

/**
 * Records an event about a subscription, in the transaction of what it tells of, for the tenant's subscriptions that
 * want it. Their deliveries wait in Postgres, where the sweeper finds them once that is committed.
 */
export async function recordSubscriptionEvent(db: Queryable, event: SubscriptionEvent): Promise<void> {
  const { tenant, subscriptionId, type } = event;
  const occurredAt = new Date();
  const id = uuid7(occurredAt.getTime());
  const data = Buffer.from(JSON.stringify({ subscriptionId, ...event.data }));
  await insertEvents(db, [{ id, tenant, eventId: id, type, occurredAt, data }]);
  const wanting = await matchingSubscriptions(db, { tenant, patterns: patternsOf(type) });
  const deliveries = wanting
    .filter((other) => other !== subscriptionId)
    .map((other) => ({
      ...{ id: deliveryId(id, other), tenant, subscriptionId: other, eventRowId: id, eventType: type },
    }));
  if (deliveries.length === 0) return;
  await insertDeliveries(db, { deliveries, jumpsQueue: true });
  await returnToWaiting(
    db,
    deliveries.map((delivery) => delivery.id),
  );
}
