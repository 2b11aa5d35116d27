import type { Delivery, SubscriptionState, WebhookSubscription } from '../../generated/prisma/client.ts';
import type { WaitReason } from '../../generated/prisma/enums.ts';

/** The stored fields that determine why a delivery waits. */
export type WaitingDelivery = Pick<Delivery, 'nextAttemptAt' | 'enqueuedAt' | 'waitingFor'> & {
  readonly subscription: Pick<WebhookSubscription, 'rateLimitPerSecond'> & {
    readonly state: Pick<SubscriptionState, 'openedAt' | 'probeAt' | 'refusedAt' | 'pausedUntil'> | null;
  };
};

/** Milliseconds for which a refusal by NATS counts as the reason. Refused deliveries are published again within seconds. */
const REFUSED_FOR_MS = 60_000;

/**
 * Why a delivery is not attempted now; null if it is in flight or has ended. The stored reason holds until the delivery is
 * due; after that the reason depends on its subscription and on NATS. `takesDeliveries`: whether NATS accepts deliveries
 * from this process; refusals that other processes had are in `refusedAt`.
 */
export function waitReasonOf(
  { subscription, ...delivery }: WaitingDelivery,
  { now, takesDeliveries }: { readonly now: Date; readonly takesDeliveries: boolean },
): WaitReason | null {
  const { nextAttemptAt, enqueuedAt, waitingFor } = delivery;
  if (nextAttemptAt === null) return null;
  if (nextAttemptAt > now) return waitingFor;
  if (enqueuedAt !== null) return null;
  if (isPaused(subscription, now)) return 'PAUSED';
  if (subscription.state?.openedAt != null) return 'CIRCUIT_OPEN';
  const refusedAt = subscription.state?.refusedAt?.getTime() ?? Number.NEGATIVE_INFINITY;
  if (!takesDeliveries || now.getTime() - refusedAt < REFUSED_FOR_MS) return 'BROKER_UNAVAILABLE';
  return subscription.rateLimitPerSecond === null ? 'IN_FLIGHT_LIMIT' : 'RATE_LIMITED';
}

function isPaused({ state }: WaitingDelivery['subscription'], now: Date): boolean {
  return state?.pausedUntil != null && state.pausedUntil > now;
}

/** The earliest time of the next attempt: for queued deliveries, not before the next probe and the end of a pause. */
export function nextAttemptOf({ nextAttemptAt, enqueuedAt, subscription }: WaitingDelivery): Date | null {
  if (nextAttemptAt === null || enqueuedAt !== null) return nextAttemptAt;
  const { probeAt = null, pausedUntil = null } = subscription.state ?? {};
  return new Date(Math.max(...[nextAttemptAt, probeAt, pausedUntil].map((time) => time?.getTime() ?? 0)));
}
