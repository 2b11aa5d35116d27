import { type DeliveryMessage, unpublishedMessages } from '../delivery/queue/message.ts';
import { uuid7 } from '../lib/uuid7.ts';
import type { Queryable } from '../postgres/client.ts';
import { readClock } from '../postgres/connection.ts';
import { insertBatch } from './insert-batch.ts';
import { deliveryId } from './writer.ts';

type SystemEvent = {
  readonly tenant: string;
  readonly type: string;
  /** JSON. */
  readonly data: string;
  /** The receiving subscriptions, regardless of their event types. */
  readonly subscriptionIds: readonly string[];
};

/**
 * Writes an event of the engine and its deliveries. Call it in a transaction and publish the returned messages after the
 * commit; if that fails, the sweeper detects lost messages and requeues their deliveries. A test event is never queued
 * behind other deliveries.
 */
export async function emitSystemEvent(
  db: Queryable,
  { tenant, type, data, subscriptionIds }: SystemEvent,
  { maxDataBytes, isTest }: { readonly maxDataBytes: number; readonly isTest: boolean },
): Promise<DeliveryMessage[]> {
  const occurredAt = new Date(await readClock(db));
  const id = uuid7(occurredAt.getTime());
  const source = isTest ? ('TEST' as const) : ('ENGINE' as const);
  const event = { id, tenant, eventId: id, type, occurredAt, data: Buffer.from(data), source };
  const deliveries = subscriptionIds.map((subscriptionId) => ({
    id: deliveryId(id, subscriptionId),
    tenant,
    subscriptionId,
    eventRowId: id,
    eventType: type,
  }));
  await insertBatch(db, { events: [event], deliveries, known: undefined, isTest });
  return deliveries.length === 0 ? [] : unpublishedMessages(db, { eventRowIds: [id], maxDataBytes });
}

type TypeMatch = {
  readonly id: string;
  /** Null: the subscription has no filter. */
  readonly filter: unknown;
};

/** A tenant's active subscriptions with a closed circuit and at least one of these patterns among their event types. */
export async function matchingSubscriptions(
  db: Queryable,
  { tenant, patterns }: { readonly tenant: string; readonly patterns: readonly string[] },
): Promise<readonly TypeMatch[]> {
  const { rows } = await db.query<TypeMatch>(
    `SELECT s.id, s.filter FROM webhook_subscriptions s JOIN subscription_states st ON st.subscription_id = s.id
     WHERE s.tenant = $1 AND s.event_types && $2::text[] AND s.is_active AND s.deleted_at IS NULL
       AND st.opened_at IS NULL`,
    [tenant, patterns],
  );
  return rows;
}
