import type { SubscriptionRowFragment, WebhookSubscriptionFilter } from '../generated/graphql.ts';

/** The filter behind each state that the list can be filtered by. */
export const STATES = {
  active: { isActive: true },
  failing: { isActive: true, failing: true },
  paused: { isActive: true, paused: true },
  inactive: { isActive: false },
} satisfies Readonly<Record<string, ListFilter>>;

type ListFilter = Pick<WebhookSubscriptionFilter, 'isActive' | 'failing' | 'paused' | 'search' | 'eventType'>;

/** A name in the address; empty: every state. */
export function readState(text: string | null): keyof typeof STATES | '' {
  return text !== null && Object.hasOwn(STATES, text) ? (text as keyof typeof STATES) : '';
}

/** Whether a subscription that changed belongs to the list, as the server decides it for those that are read. */
export function subscriptionMatches(row: SubscriptionRowFragment, filter: ListFilter): boolean {
  const { isActive, failing, paused, search, eventType } = filter;
  const text = (search ?? '').toLowerCase();
  return (
    (isActive == null || row.isActive === isActive) &&
    (failing == null || (row.failingSince != null) === failing) &&
    (paused == null || (row.pausedUntil != null) === paused) &&
    (eventType == null || row.eventTypes.some((pattern) => selects(pattern, eventType))) &&
    [row.url, row.description].some((each) => each.toLowerCase().includes(text))
  );
}

/** `*` selects every type except the engine's notices. */
function selects(pattern: string, type: string): boolean {
  if (pattern === '*') return !type.startsWith('webhook_subscription.');
  return pattern.endsWith('.*') ? type.startsWith(pattern.slice(0, -1)) : pattern === type;
}
