import type { Logger } from 'pino';
import type { Database } from '../database/client.ts';
import type { PendingDelivery } from '../database/pending-delivery.ts';
import { returnToWaiting } from '../database/return-to-waiting.ts';
import type { DeliveryMessage } from './delivery-message.ts';
import type { EventBus } from './event-bus.ts';

/** So many messages at a time are on their way to JetStream: beyond 64 to 256 it gets no faster (measured). */
const IN_FLIGHT = 128;
/** What is published later than this may have been taken for lost, and published by the sweeper: half of its slack. */
const LATE_MS = 30_000;

type MessageOptions = {
  readonly isProbe?: boolean;
  readonly sendAt?: number | undefined;
  /** Whether no other message of the delivery has ever been published: default false. */
  readonly isFirst?: boolean;
};

/** The message of a delivery that another message may be alive of, unless it is the first. */
export function toMessage(
  pending: PendingDelivery,
  { isProbe = false, sendAt, isFirst = false }: MessageOptions = {},
): DeliveryMessage {
  return {
    deliveryId: pending.deliveryId,
    tenant: pending.tenant,
    subscriptionId: pending.subscriptionId,
    subscriptionVersion: Number(pending.subscriptionVersion),
    eventId: pending.eventId,
    eventType: pending.eventType,
    occurredAt: pending.occurredAt.toISOString(),
    enqueueCount: pending.enqueueCount,
    mayBeDuplicate: !isFirst,
    isProbe,
    isTest: pending.isTest,
    sendAt,
    data: pending.data ?? undefined,
  };
}

/** Publishes the messages and returns the ids of the deliveries whose message JetStream has not confirmed. */
async function publishDeliveries(
  bus: EventBus,
  { messages, enqueuedAt }: { readonly messages: readonly DeliveryMessage[]; readonly enqueuedAt: number },
): Promise<string[]> {
  const unpublished: string[] = [];
  for (let start = 0; start < messages.length; start += IN_FLIGHT) {
    const isLate = performance.now() - enqueuedAt > LATE_MS;
    const chunk = messages
      .slice(start, start + IN_FLIGHT)
      .map((message) => (isLate ? { ...message, mayBeDuplicate: true } : message));
    const outcomes = await Promise.allSettled(chunk.map((message) => bus.publishDelivery(message)));
    outcomes.forEach((outcome, index) => {
      if (outcome.status === 'rejected') unpublished.push(chunk[index]?.deliveryId ?? '');
    });
  }
  return unpublished;
}

/**
 * Publishes the messages; deliveries whose message was not confirmed wait in Postgres for the sweeper. Returns how many
 * were published. `enqueuedAt`: when the deliveries were marked as enqueued, or before, on performance.now()'s clock.
 */
export async function publishOrWait(
  to: { readonly bus: EventBus; readonly database: Database; readonly log: Logger },
  messages: readonly DeliveryMessage[],
  enqueuedAt = performance.now(),
): Promise<number> {
  const unpublished = await publishDeliveries(to.bus, { messages, enqueuedAt });
  if (unpublished.length === 0) return messages.length;
  // Why, the bus logs every half minute.
  to.log.debug({ count: unpublished.length }, 'NATS did not take these deliveries; they wait in Postgres');
  await returnToWaiting(to.database.pool, unpublished, { wereRefused: true });
  return messages.length - unpublished.length;
}
