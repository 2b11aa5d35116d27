import { useState } from 'react';
import { messages } from '../messages.ts';
import { countdown, countOf } from '../ui/format.ts';
import { useNow } from '../ui/time.tsx';
import type { DeliveryDetails } from './delivery-view.tsx';

const words = messages.delivery;

type WaitsProps = Pick<DeliveryDetails, 'waitingFor' | 'subscription'> & { readonly nextAttemptAt: string };

/** The time until the next attempt; for a due delivery behind others, their number and how fast they are sent. */
export function Waits({ nextAttemptAt, waitingFor, subscription }: WaitsProps) {
  const now = useNow();
  const { health, rateLimitPerSecond, maxInFlight } = subscription;
  const [counted, setCounted] = useState({ health, at: now });
  if (counted.health !== health) setCounted({ health, at: now });
  if (Date.parse(nextAttemptAt) > now) return <NextIn at={nextAttemptAt} />;
  const pending = countOf(health.pendingCount, health.isExact);
  if (waitingFor === 'RATE_LIMITED' && rateLimitPerSecond != null) {
    const behind = words.behindRate(pending, rateLimitPerSecond);
    // Deliveries that are created after they were counted come last.
    const lastMs = counted.at + (health.pendingCount / rateLimitPerSecond) * 1_000 - now;
    return <>{health.isExact && lastMs > 0 ? `${behind}, ${words.lastIn(countdown(lastMs))}` : behind}</>;
  }
  return waitingFor === 'IN_FLIGHT_LIMIT' ? (
    <>{words.behindInFlight(pending, maxInFlight)}</>
  ) : (
    <NextIn at={nextAttemptAt} />
  );
}

/** The time until the next attempt; without one, the delivery is due. */
export function NextIn({ at }: { readonly at: string }) {
  const waitMs = Date.parse(at) - useNow();
  return waitMs > 0 ? `${words.nextIn} ${countdown(waitMs)}` : words.dueNow;
}
