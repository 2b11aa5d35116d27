import type { SubscriptionStateFragment } from '../generated/graphql.ts';
import { countdown, relativeTime, span } from '../ui/format.ts';
import type { Tone } from '../ui/outcome.tsx';
import { subscriptionWords } from './messages.ts';

const words = subscriptionWords.state;

type InWords = { readonly tone: Tone; readonly word: string; readonly detail?: string };

/** The state of a subscription in words, such as "Circuit open" with "only probes, next in 0:42". */
export function inWords(subscription: SubscriptionStateFragment, nowMs: number): InWords {
  const { isActive, deactivationReason, failingSince, pausedUntil, circuit } = subscription;
  if (!isActive) {
    return deactivationReason == null
      ? { tone: 'neutral', word: words.inactive, detail: words.byUser }
      : { tone: 'failure', word: words.inactive, detail: words.deactivated[deactivationReason] };
  }
  // The end of a pause changes nothing that would be pushed.
  if (pausedUntil != null && Date.parse(pausedUntil) > nowMs) {
    return { tone: 'waiting', word: words.paused, detail: words.until(relativeTime(Date.parse(pausedUntil), nowMs)) };
  }
  if (circuit.state === 'OPEN') {
    const waitMs = circuit.nextProbeAt == null ? 0 : Date.parse(circuit.nextProbeAt) - nowMs;
    return {
      tone: 'failure',
      word: words.open,
      detail: waitMs > 0 ? words.nextProbe(countdown(waitMs)) : words.probeDue,
    };
  }
  if (failingSince != null) {
    return { tone: 'waiting', word: words.failing, detail: words.failingFor(span(nowMs - Date.parse(failingSince))) };
  }
  return { tone: 'success', word: words.active };
}
