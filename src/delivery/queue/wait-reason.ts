import type { Delivery, SubscriptionState, WebhookSubscription } from '../../generated/prisma/client.ts';
import type { WaitReason } from '../../generated/prisma/enums.ts';

/** What is stored of a delivery, and of its subscription, that says what it waits for. */
export type WaitingDelivery = Pick<Delivery, 'nextAttemptAt' | 'enqueuedAt' | 'waitingFor'> & {
  readonly subscription: Pick<WebhookSubscription, 'rateLimitPerSecond'> & {
    readonly state: Pick<SubscriptionState, 'openedAt' | 'probeAt' | 'refusedAt'> | null;
  };
};

/** For how long a refusal by NATS says why deliveries of the subscription wait: they are published again within seconds. */
const REFUSED_FOR_MS = 60_000;

/**
 * Why no attempt is made right now; null if one is, or none will be. What is stored holds until the delivery is due:
 * what it waits for after that depends on its subscription, and on NATS, and changes for all of them at once.
 * `takesDeliveries`: whether NATS takes them from this process; what another process was refused is in `refusedAt`.
 */
export function waitReasonOf(
  { subscription, ...delivery }: WaitingDelivery,
  { now, takesDeliveries }: { readonly now: Date; readonly takesDeliveries: boolean },
): WaitReason | null {
  const { nextAttemptAt, enqueuedAt, waitingFor } = delivery;
  if (nextAttemptAt === null) return null;
  if (nextAttemptAt > now) return waitingFor;
  if (enqueuedAt !== null) return null;
  if (subscription.state?.openedAt != null) return 'CIRCUIT_OPEN';
  const refusedAt = subscription.state?.refusedAt?.getTime() ?? Number.NEGATIVE_INFINITY;
  if (!takesDeliveries || now.getTime() - refusedAt < REFUSED_FOR_MS) return 'BROKER_UNAVAILABLE';
  return subscription.rateLimitPerSecond === null ? 'IN_FLIGHT_LIMIT' : 'RATE_LIMITED';
}

/** When the next attempt can be made at the earliest: what waits behind an open circuit, not before the next probe. */
export function nextAttemptOf({ nextAttemptAt, enqueuedAt, subscription }: WaitingDelivery): Date | null {
  const probeAt = subscription.state?.probeAt ?? null;
  if (nextAttemptAt === null || enqueuedAt !== null || probeAt === null) return nextAttemptAt;
  return probeAt > nextAttemptAt ? probeAt : nextAttemptAt;
}
