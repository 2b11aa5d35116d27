import { insertDeliveries } from '../database/insert-deliveries.ts';
import { insertEvents } from '../database/insert-events.ts';
import { readClock } from '../database/retention/read-clock.ts';
import type { Queryable } from '../database/transaction.ts';
import { unattemptedDeliveries } from '../database/unattempted-deliveries.ts';
import { uuid7 } from '../database/uuid7.ts';
import { deliveryId } from './delivery-id.ts';
import type { DeliveryMessage } from './delivery-message.ts';
import { toMessage } from './publish-deliveries.ts';

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
