import type { Logger } from 'pino';
import type { Database } from '../database/client.ts';
import { insertDeliveries } from '../database/insert-deliveries.ts';
import { insertEvents } from '../database/insert-events.ts';
import { transaction } from '../database/transaction.ts';
import { unattemptedDeliveries } from '../database/unattempted-deliveries.ts';
import { uuid7 } from '../database/uuid7.ts';
import { deliveryId } from './delivery-id.ts';
import type { EventBus } from './event-bus.ts';
import { publishOrWait, toMessage } from './publish-deliveries.ts';

export type TestEvent = {
  readonly subscriptionId: string;
  readonly tenant: string;
  readonly eventType: string;
  /** JSON. */
  readonly data: string;
};

/**
 * Records an event for this one subscription, whatever types it wants, and enqueues its delivery, whose id it returns.
 * It waits for nobody, and is sent even if the circuit is open: who mended an endpoint wants to know at once.
 */
export async function sendTestEvent(
  services: { readonly database: Database; readonly bus: EventBus; readonly log: Logger },
  { subscriptionId, tenant, eventType, data }: TestEvent,
): Promise<string> {
  const now = new Date();
  const eventRowId = uuid7(now.getTime());
  const id = deliveryId(eventRowId, subscriptionId);
  const event = {
    id: eventRowId,
    tenant,
    eventId: eventRowId,
    type: eventType,
    occurredAt: now,
    data: Buffer.from(data),
  };
  const pending = await transaction(services.database.pool, async (db) => {
    await insertEvents(db, [event]);
    await insertDeliveries(db, {
      deliveries: [{ id, tenant, subscriptionId, eventRowId, eventType }],
      jumpsQueue: true,
    });
    return unattemptedDeliveries(db, { eventRowIds: [eventRowId], maxDataBytes: services.bus.maxInlineDataBytes });
  });
  await publishOrWait(
    services,
    pending.map((delivery) => toMessage(delivery, { isProbe: true })),
  );
  return id;
}
