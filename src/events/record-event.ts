import { insertDeliveries } from '../delivery/queue/insert-deliveries.ts';
import { insertEvents } from './insert-events.ts';
import { readClock } from '../postgres/read-clock.ts';
import type { Queryable } from '../postgres/transaction.ts';
import { unattemptedDeliveries } from '../delivery/queue/unattempted-deliveries.ts';
import { uuid7 } from '../lib/uuid7.ts';
import { deliveryId } from './delivery-id.ts';
import type { DeliveryMessage } from '../delivery/queue/delivery-message.ts';
import { toMessage } from '../delivery/queue/publish-deliveries.ts';

export type OwnEvent = {
  readonly tenant: string;
  readonly type: string;
  /** JSON. */
  readonly data: string;
  /** Who gets it, whatever types they want. */
  readonly subscriptionIds: readonly string[];
};

/**
 * Records an event of ours with its deliveries in a transaction, and returns the messages to publish once that is
 * committed. If they never are, the sweeper finds them lost. A test waits for no other delivery.
 */
export async function recordEvent(
  db: Queryable,
  { tenant, type, data, subscriptionIds }: OwnEvent,
  { maxDataBytes, isTest }: { readonly maxDataBytes: number; readonly isTest: boolean },
): Promise<DeliveryMessage[]> {
  const occurredAt = new Date(await readClock(db));
  const id = uuid7(occurredAt.getTime());
  await insertEvents(db, [{ id, tenant, eventId: id, type, occurredAt, data: Buffer.from(data) }]);
  const deliveries = subscriptionIds.map((subscriptionId) => ({
    ...{ id: deliveryId(id, subscriptionId), tenant, subscriptionId, eventRowId: id, eventType: type },
  }));
  if (deliveries.length === 0) return [];
  await insertDeliveries(db, { deliveries, isTest });
  const pending = await unattemptedDeliveries(db, { eventRowIds: [id], maxDataBytes });
  return pending.map((delivery) => toMessage(delivery));
}
