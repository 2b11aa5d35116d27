import type { Delivery, SubscriptionState, WebhookSubscription } from '../generated/prisma/client.ts';
import type { WaitReason } from '../generated/prisma/enums.ts';

/** What is stored of a delivery, and of its subscription, that says what it waits for. */
export type WaitingDelivery = Pick<Delivery, 'nextAttemptAt' | 'enqueuedAt' | 'waitingFor'> & {
  readonly subscription: Pick<WebhookSubscription, 'rateLimitPerSecond'> & {
    readonly state: Pick<SubscriptionState, 'openedAt' | 'probeAt'> | null;
  };
};

/**
 * Why no attempt is made right now; null if one is, or none will be. What is stored holds until the delivery is due:
 * what it waits for after that depends on its subscription, and changes for all of them at once.
 */
export function waitReasonOf({ subscription, ...delivery }: WaitingDelivery, now: Date): WaitReason | null {
  const { nextAttemptAt, enqueuedAt, waitingFor } = delivery;
  if (nextAttemptAt === null) return null;
  if (nextAttemptAt > now) return waitingFor;
  if (enqueuedAt !== null) return null;
  if (subscription.state?.openedAt != null) return 'CIRCUIT_OPEN';
  return subscription.rateLimitPerSecond === null ? 'IN_FLIGHT_LIMIT' : 'RATE_LIMITED';
}

/** When the next attempt can be made at the earliest: what waits behind an open circuit, not before the next probe. */
export function nextAttemptOf({ nextAttemptAt, enqueuedAt, subscription }: WaitingDelivery): Date | null {
  const probeAt = subscription.state?.probeAt ?? null;
  if (nextAttemptAt === null || enqueuedAt !== null || probeAt === null) return nextAttemptAt;
  return probeAt > nextAttemptAt ? probeAt : nextAttemptAt;
}
