import type { Delivery, Prisma, SubscriptionState, WebhookSubscription } from '../../generated/prisma/client.ts';
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

/** Selects pending deliveries by the reason why they wait at a time. */
export type Waiting = {
  readonly reasons: readonly WaitReason[];
  readonly now: Date;
  /** As in waitReasonOf. */
  readonly takesDeliveries: boolean;
};

/** The deliveries for which waitReasonOf returns one of the reasons, as a condition on their table. */
export function waitingWhere({ reasons, now, takesDeliveries }: Waiting): Prisma.DeliveryWhereInput {
  // In SQL, neither a comparison with null nor its negation is true, so null is tested explicitly.
  const notPaused = { OR: [{ pausedUntil: null }, { pausedUntil: { lte: now } }] };
  const isUnhindered = { ...notPaused, openedAt: null };
  const refusedSince = new Date(now.getTime() - REFUSED_FOR_MS);
  const isRefused = takesDeliveries ? { refusedAt: { gt: refusedSince } } : {};
  const notRefused = takesDeliveries ? { OR: [{ refusedAt: null }, { refusedAt: { lte: refusedSince } }] } : NOTHING;
  const mayBeSent = { AND: [isUnhindered, notRefused] };
  /** The reasons of due deliveries. The other reasons are stored until a delivery is due. */
  const subscriptions: Readonly<Partial<Record<WaitReason, Prisma.WebhookSubscriptionWhereInput>>> = {
    PAUSED: { state: { pausedUntil: { gt: now } } },
    CIRCUIT_OPEN: { state: { ...notPaused, openedAt: { not: null } } },
    BROKER_UNAVAILABLE: { state: { AND: [isUnhindered, isRefused] } },
    RATE_LIMITED: { rateLimitPerSecond: { not: null }, state: mayBeSent },
    IN_FLIGHT_LIMIT: { rateLimitPerSecond: null, state: mayBeSent },
  };
  const conditions = reasons.flatMap((reason) => subscriptions[reason] ?? []);
  const due = { nextAttemptAt: { lte: now }, enqueuedAt: null };
  return {
    OR: [
      { nextAttemptAt: { gt: now }, waitingFor: { in: [...reasons] } },
      ...(conditions.length === 0 ? [] : [{ ...due, subscription: { OR: conditions } }]),
    ],
  };
}

/** Matches no row. */
const NOTHING = { subscriptionId: { in: [] } };

function isPaused({ state }: WaitingDelivery['subscription'], now: Date): boolean {
  return state?.pausedUntil != null && state.pausedUntil > now;
}

/** The earliest time of the next attempt: for queued deliveries, not before the next probe and the end of a pause. */
export function nextAttemptOf({ nextAttemptAt, enqueuedAt, subscription }: WaitingDelivery): Date | null {
  if (nextAttemptAt === null || enqueuedAt !== null) return nextAttemptAt;
  const { probeAt = null, pausedUntil = null } = subscription.state ?? {};
  return new Date(Math.max(...[nextAttemptAt, probeAt, pausedUntil].map((time) => time?.getTime() ?? 0)));
}
