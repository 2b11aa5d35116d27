import type { Logger } from 'pino';
import { DomainError, NotFoundError } from '../../lib/errors.ts';
import { isUuid } from '../../lib/uuid7.ts';
import { type Database, mutate, type Queryable } from '../../postgres/client.ts';
import { type DeliveryMessage, publishOrRequeue, toDeliveryMessage } from './message.ts';
import { lockDelivery, republishDelivery } from './store.ts';
import type { DeliveryStream } from './stream.ts';

/** A delivery of `tenant`, or of any tenant if that is undefined. */
export type DeliveryKey = { readonly id: string; readonly tenant: string | undefined };

type RetryServices = { readonly database: Database; readonly deliveries: DeliveryStream; readonly log: Logger };

/**
 * Publishes a failed or pending delivery at once, ahead of queued deliveries and even if the circuit is open: a user who
 * fixed an endpoint sees the result immediately. A delivery in flight is left unchanged, so two concurrent retries make
 * one attempt. Throws NotFoundError, DeliveryNotRetryableError or SubscriptionInactiveError.
 */
export async function retryDelivery(services: RetryServices, key: DeliveryKey): Promise<void> {
  const { database, deliveries } = services;
  if (!isUuid(key.id)) throw new NotFoundError('delivery');
  const { maxInlineDataBytes } = deliveries;
  const message = await mutate(database, (db) => republish(db, key, maxInlineDataBytes));
  if (message !== undefined) await publishOrRequeue(services, [message]);
}

/** Returns the message to publish after the commit; undefined if the delivery is in flight. */
async function republish(db: Queryable, key: DeliveryKey, maxDataBytes: number): Promise<DeliveryMessage | undefined> {
  const delivery = await lockDelivery(db, key);
  if (delivery === undefined) throw new NotFoundError('delivery');
  const { status, isActive, isInFlight } = delivery;
  if (status === 'SUCCESS' || status === 'CANCELLED') throw new DeliveryNotRetryableError(status);
  if (!isActive) throw new SubscriptionInactiveError();
  if (status === 'PENDING' && isInFlight) return undefined;
  const pending = await republishDelivery(db, { id: key.id, maxDataBytes });
  if (pending === undefined) throw new DeliveryNotRetryableError('EVENT_GONE');
  return toDeliveryMessage(pending, { isProbe: true, isRequested: true });
}

/** The delivery has succeeded or was cancelled, or its event no longer exists. */
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

/** Only pending deliveries can be cancelled. */
export class DeliveryNotPendingError extends DomainError {
  readonly code = 'DELIVERY_NOT_PENDING';

  constructor(status: 'SUCCESS' | 'FAILURE') {
    super(`the delivery has already ended with ${status}`);
  }
}

/** The subscription exists but is inactive. */
export class SubscriptionInactiveError extends DomainError {
  readonly code = 'SUBSCRIPTION_INACTIVE';

  constructor() {
    super('the webhook subscription is inactive; activate it first');
  }
}
