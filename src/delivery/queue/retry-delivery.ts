import type { Logger } from 'pino';
import type { Database } from '../../postgres/client.ts';
import { lockDelivery } from './lock-delivery.ts';
import { resumeDelivery } from './resume-delivery.ts';
import { type Queryable, transaction } from '../../postgres/transaction.ts';
import type { DeliveryMessage } from './delivery-message.ts';
import type { EventBus } from '../../nats/event-bus.ts';
import { publishOrWait, toMessage } from './publish-deliveries.ts';
import { DeliveryNotRetryableError } from './delivery-errors.ts';
import { NotFoundError, SubscriptionInactiveError } from '../../lib/webhook-subscription-errors.ts';
import { isUuid } from '../../subscriptions/service.ts';

/** Which delivery is meant, and whose it must be: any tenant's if `tenant` is undefined. */
export type DeliveryKey = { readonly id: string; readonly tenant: string | undefined };

type RetryServices = { readonly database: Database; readonly bus: EventBus; readonly log: Logger };

/**
 * Has a delivery that waits or has failed attempted now, before those that queue up, and even if the circuit is open:
 * who mended an endpoint wants to know at once. One that is under way stays as it is, so two retries at a time are one
 * attempt. Throws NotFoundError, DeliveryNotRetryableError or SubscriptionInactiveError.
 */
export async function retryDelivery(services: RetryServices, key: DeliveryKey): Promise<void> {
  const { database, bus } = services;
  if (!isUuid(key.id)) throw new NotFoundError('delivery');
  const { maxInlineDataBytes } = bus;
  const message = await transaction(database.pool, (db) => resume(db, key, maxInlineDataBytes));
  if (message !== undefined) await publishOrWait(services, [message]);
}

/** The message to publish once this is committed; undefined if the delivery is under way. */
async function resume(db: Queryable, key: DeliveryKey, maxDataBytes: number): Promise<DeliveryMessage | undefined> {
  const delivery = await lockDelivery(db, key);
  if (delivery === undefined) throw new NotFoundError('delivery');
  const { status, isActive, isUnderWay } = delivery;
  if (status === 'SUCCESS' || status === 'CANCELLED') throw new DeliveryNotRetryableError(status);
  if (!isActive) throw new SubscriptionInactiveError();
  if (status === 'PENDING' && isUnderWay) return undefined;
  const pending = await resumeDelivery(db, { id: key.id, maxDataBytes });
  if (pending === undefined) throw new DeliveryNotRetryableError('EVENT_GONE');
  return toMessage(pending, { isProbe: true });
}
