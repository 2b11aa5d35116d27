import { MAX_EVENT_TYPES } from '../events/catalogue/service.ts';
import { isEventTypePattern } from '../events/event-type.ts';
import { validateFilter } from '../events/matching/filter-validation.ts';
import type { InputProblem } from '../lib/errors.ts';
import type { GivenHeader } from './headers.ts';

/** What a user may set; a field that is absent keeps its value, or its default when the subscription is new. */
export type WebhookSubscriptionSettings = {
  readonly url?: string | null | undefined;
  readonly eventTypes?: readonly string[] | null | undefined;
  /** A payload filter; null means none. */
  readonly filter?: unknown;
  readonly description?: string | null | undefined;
  /** Replaces all custom headers, but one without a value keeps its own; an empty list removes them. */
  readonly headers?: readonly GivenHeader[] | null | undefined;
  readonly isActive?: boolean | null | undefined;
  readonly timeoutMs?: number | null | undefined;
  readonly maxInFlight?: number | null | undefined;
  /** Null means no limit. */
  readonly rateLimitPerSecond?: number | null | undefined;
};
const MAX_DESCRIPTION_LENGTH = 1_000;
/** From and to, both included. */
const RANGES = { timeoutMs: [1_000, 30_000], maxInFlight: [1, 100], rateLimitPerSecond: [1, 1_000] } as const;

/** Every problem of the settings but those of the URL and the headers. */
export function findProblems(settings: WebhookSubscriptionSettings): InputProblem[] {
  return [
    ...problemsOfEventTypes(settings.eventTypes ?? undefined),
    ...(settings.filter == null ? [] : validateFilter(settings.filter)),
    ...problemsOfDescription(settings.description ?? ''),
    ...problemOfRange('timeoutMs', settings),
    ...problemOfRange('maxInFlight', settings),
    ...problemOfRange('rateLimitPerSecond', settings),
  ];
}

function problemsOfEventTypes(eventTypes: readonly string[] | undefined): InputProblem[] {
  if (eventTypes === undefined) return [];
  const path = 'eventTypes';
  if (eventTypes.length === 0) return [{ path, message: 'must name at least one event type; `*` means all' }];
  // Not each one of a list that is too long: the answer would be as long.
  if (eventTypes.length > MAX_EVENT_TYPES)
    return [{ path, message: `may name at most ${MAX_EVENT_TYPES} event types` }];
  return eventTypes.flatMap((eventType, index) => {
    const message = problemOfEventType(eventType, eventTypes.indexOf(eventType) < index);
    return message === undefined ? [] : [{ path: `${path}.${index}`, message }];
  });
}

function problemOfEventType(eventType: string, isRepeated: boolean): string | undefined {
  if (!isEventTypePattern(eventType)) {
    return 'must be an event type such as conversation.created, a prefix such as conversation.*, or *';
  }
  return isRepeated ? 'is named twice' : undefined;
}

function problemsOfDescription(description: string): InputProblem[] {
  const path = 'description';
  if (description.length > MAX_DESCRIPTION_LENGTH) {
    return [{ path, message: `may have at most ${MAX_DESCRIPTION_LENGTH} characters` }];
  }
  // Postgres has no text with a NUL in it.
  return description.includes('\0') ? [{ path, message: 'must not contain NUL characters' }] : [];
}

function problemOfRange(path: keyof typeof RANGES, { [path]: value }: WebhookSubscriptionSettings): InputProblem[] {
  const [min, max] = RANGES[path];
  return value == null || (value >= min && value <= max) ? [] : [{ path, message: `must be from ${min} to ${max}` }];
}
