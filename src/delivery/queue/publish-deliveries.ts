import type { Logger } from 'pino';
import type { Database } from '../../postgres/client.ts';
import { LEASE_MARGIN_MS } from './lease-deliveries.ts';
import type { PendingDelivery } from './pending-delivery.ts';
import { returnToWaiting } from './return-to-waiting.ts';
import { NoAnswerError } from '../../lib/loop-clock.ts';
import type { DeliveryMessage } from './delivery-message.ts';
import type { EventBus } from '../../nats/event-bus.ts';
import { BELIEVED_MS } from '../sending/first-deliveries.ts';

/** So many messages at a time are on their way to JetStream: beyond 64 to 256 it gets no faster (measured). */
const IN_FLIGHT = 128;
/** What is published later than this may have been taken for lost, and published by the sweeper: half of its slack. */
const LATE_MS = 30_000;

/**
 * Milliseconds, beside the time limit of an attempt, for which nobody else attempts a delivery whose first message may be stored: as
 * long as a sender believes such a message, and as a lease lasts longer than an attempt.
 */
const HELD_BACK_MS = BELIEVED_MS + LEASE_MARGIN_MS;

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

type Unpublished = {
  /** The deliveries whose message was refused, or that another message may be alive of anyway. */
  readonly lost: readonly string[];
  /** Those whose first message may have been stored, though there was no answer. */
  readonly unanswered: readonly string[];
};

async function publishDeliveries(
  bus: Pick<EventBus, 'publishDelivery'>,
  { messages, enqueuedAt }: { readonly messages: readonly DeliveryMessage[]; readonly enqueuedAt: number },
): Promise<Unpublished> {
  const lost: string[] = [];
  const unanswered: string[] = [];
  for (let start = 0; start < messages.length; start += IN_FLIGHT) {
    const isLate = performance.now() - enqueuedAt > LATE_MS;
    const chunk = messages
      .slice(start, start + IN_FLIGHT)
      .map((message) => (isLate ? { ...message, mayBeDuplicate: true } : message));
    await Promise.all(
      chunk.map(async (message) => {
        try {
          await bus.publishDelivery(message);
        } catch (error) {
          const mayBeFirst = error instanceof NoAnswerError && !message.mayBeDuplicate;
          (mayBeFirst ? unanswered : lost).push(message.deliveryId);
        }
      }),
    );
  }
  return { lost, unanswered };
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
  const { lost, unanswered } = await publishDeliveries(to.bus, { messages, enqueuedAt });
  const count = lost.length + unanswered.length;
  if (count === 0) return messages.length;
  // Why, the bus logs every half minute.
  to.log.debug({ count }, 'NATS did not take these deliveries; they wait in Postgres');
  const { pool } = to.database;
  const options = { wereRefused: true };
  if (lost.length > 0) await returnToWaiting(pool, lost, options);
  if (unanswered.length > 0) await returnToWaiting(pool, unanswered, { ...options, heldBackMs: HELD_BACK_MS });
  return messages.length - count;
}
