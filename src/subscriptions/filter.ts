import { isEventType, patternsOf } from '../events/event-type.ts';
import type { DeactivationReason, Prisma } from '../generated/prisma/client.ts';
import type { InputProblem } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';

type Optional<T> = { readonly [K in keyof T]?: T[K] | null | undefined };

/** Selects webhook subscriptions. Absent or null fields are ignored; an empty list matches nothing. */
export type SubscriptionFilter = Optional<{
  subscriptionIds: readonly string[];
  isActive: boolean;
  /** Why the engine deactivated it. */
  deactivationReasons: readonly DeactivationReason[];
  /** A part of the URL or the description, case-insensitive. */
  search: string;
  circuitStates: readonly ('OPEN' | 'CLOSED')[];
  /** Whether there has been a failure since the last success. */
  failing: boolean;
  /** An event type that the subscription selects. */
  eventType: string;
  /** Whether a user has paused it. */
  paused: boolean;
}>;

const MAX_SEARCH_LENGTH = 200;

/** Every problem of the filter, except those of fields that other filters also have. */
export function problemsOfSubscriptionFilter({ search, eventType }: SubscriptionFilter): InputProblem[] {
  const problems: InputProblem[] = [];
  if (search != null && (search.length > MAX_SEARCH_LENGTH || search.includes('\0'))) {
    const message = `may have at most ${MAX_SEARCH_LENGTH} characters, none of them NUL`;
    problems.push({ path: 'filter.search', message });
  }
  if (eventType != null && !isEventType(eventType)) {
    problems.push({ path: 'filter.eventType', message: 'must be an event type such as conversation.created' });
  }
  return problems;
}

/** The filter as a condition on the table of webhook subscriptions. */
export function subscriptionWhere(filter: SubscriptionFilter, now: Date): Prisma.WebhookSubscriptionWhereInput {
  const { subscriptionIds, isActive, deactivationReasons, search, circuitStates, failing, eventType, paused } = filter;
  const conditions: Prisma.WebhookSubscriptionWhereInput[] = [];
  if (subscriptionIds != null) conditions.push({ id: { in: subscriptionIds.filter(isUuid) } });
  if (isActive != null) conditions.push({ isActive });
  if (deactivationReasons != null) conditions.push({ deactivationReason: { in: [...deactivationReasons] } });
  if (search != null && search !== '') {
    // Prisma passes the text to LIKE without escaping it.
    const text = { contains: search.replace(/[\\%_]/g, '\\$&'), mode: 'insensitive' } as const;
    conditions.push({ OR: [{ url: text }, { description: text }] });
  }
  if (circuitStates != null) conditions.push(circuitWhere(circuitStates));
  if (failing != null) conditions.push({ state: { failingSince: failing ? { not: null } : null } });
  if (paused != null) conditions.push(paused ? pausedAt(now) : { NOT: pausedAt(now) });
  if (eventType != null) conditions.push({ eventTypes: { hasSome: patternsOf(eventType) } });
  return { AND: conditions };
}

/** The condition that the subscription is paused at this time. */
function pausedAt(now: Date) {
  return { state: { pausedUntil: { not: null, gt: now } } } as const;
}

function circuitWhere(states: readonly ('OPEN' | 'CLOSED')[]): Prisma.WebhookSubscriptionWhereInput {
  const [open, closed] = [states.includes('OPEN'), states.includes('CLOSED')];
  if (open && closed) return {};
  if (!open && !closed) return { id: { in: [] } };
  return { state: { openedAt: open ? { not: null } : null } };
}
