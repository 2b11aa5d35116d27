import type { SubscriptionRowFragment, WebhookSubscriptionFilter } from '../generated/graphql.ts';

/** The filter behind each state that the list can be filtered by. */
export const STATES = {
  active: { isActive: true },
  failing: { isActive: true, failing: true },
  paused: { isActive: true, paused: true },
  inactive: { isActive: false },
} satisfies Readonly<Record<string, StateFilter>>;

type StateFilter = Pick<WebhookSubscriptionFilter, 'isActive' | 'failing' | 'paused' | 'search'>;

/** A name in the address; empty: every state. */
export function readState(text: string | null): keyof typeof STATES | '' {
  return text !== null && Object.hasOwn(STATES, text) ? (text as keyof typeof STATES) : '';
}

/** Whether a subscription that changed belongs to the list, as the server decides it for those that are read. */
export function subscriptionMatches(row: SubscriptionRowFragment, filter: StateFilter): boolean {
  const { isActive, failing, paused, search } = filter;
  const text = (search ?? '').toLowerCase();
  return (
    (isActive == null || row.isActive === isActive) &&
    (failing == null || (row.failingSince != null) === failing) &&
    (paused == null || (row.pausedUntil != null) === paused) &&
    [row.url, row.description].some((each) => each.toLowerCase().includes(text))
  );
}
