import type { Logger } from 'pino';
import { DomainError, NotFoundError } from '../../lib/errors.ts';
import { isUuid } from '../../lib/uuid7.ts';
import type { NatsClient } from '../../nats/connection.ts';
import { type Database, type Queryable, transaction } from '../../postgres/client.ts';
import { type DeliveryMessage, publishOrRequeue, toDeliveryMessage } from './message.ts';
import { lockDelivery, republishDelivery } from './store.ts';

/** Which delivery is meant, and whose it must be: any tenant's if `tenant` is undefined. */
export type DeliveryKey = { readonly id: string; readonly tenant: string | undefined };

type RetryServices = { readonly database: Database; readonly bus: NatsClient; readonly log: Logger };

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
  if (message !== undefined) await publishOrRequeue(services, [message]);
}

/** The message to publish once this is committed; undefined if the delivery is under way. */
async function resume(db: Queryable, key: DeliveryKey, maxDataBytes: number): Promise<DeliveryMessage | undefined> {
  const delivery = await lockDelivery(db, key);
  if (delivery === undefined) throw new NotFoundError('delivery');
  const { status, isActive, isUnderWay } = delivery;
  if (status === 'SUCCESS' || status === 'CANCELLED') throw new DeliveryNotRetryableError(status);
  if (!isActive) throw new SubscriptionInactiveError();
  if (status === 'PENDING' && isUnderWay) return undefined;
  const pending = await republishDelivery(db, { id: key.id, maxDataBytes });
  if (pending === undefined) throw new DeliveryNotRetryableError('EVENT_GONE');
  return toDeliveryMessage(pending, { isProbe: true });
}

/** There is nothing left to retry, or nothing to retry it with. */
export class DeliveryNotRetryableError extends DomainError {
  readonly code = 'DELIVERY_NOT_RETRYABLE';

  constructor(why: 'SUCCESS' | 'CANCELLED' | 'EVENT_GONE') {
    super(
      why === 'EVENT_GONE'
        ? "the event's data is no longer kept, so it cannot be sent again"
        : `the delivery has ended with ${why}; start a replay to send its event again`,
    );
  }
}

/** Only what has not ended can be cancelled. */
export class DeliveryNotPendingError extends DomainError {
  readonly code = 'DELIVERY_NOT_PENDING';

  constructor(status: 'SUCCESS' | 'FAILURE') {
    super(`the delivery has already ended with ${status}`);
  }
}

/** The subscription exists but is switched off. */
export class SubscriptionInactiveError extends DomainError {
  readonly code = 'SUBSCRIPTION_INACTIVE';

  constructor() {
    super('the webhook subscription is inactive; activate it first');
  }
}
