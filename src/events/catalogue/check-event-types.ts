import { isEventTypePattern, isOwnEventType, matchesPattern, TEST_EVENT_TYPE } from '../event-type.ts';
import type { Prisma } from '../../generated/prisma/client.ts';
import { closeMatches } from '../../lib/text.ts';
import type { InputProblem } from '../../lib/webhook-subscription-errors.ts';
import { MAX_EVENT_TYPES } from '../../subscriptions/settings.ts';

type EventTypesToCheck = {
  readonly eventTypes: readonly string[];
  /** What the subscription asks for already: types that were archived since stay. */
  readonly known?: readonly string[];
};

type CatalogueEntry = { readonly name: string; readonly isArchived: boolean };

/** So many problems name what may have been meant. */
const MAX_SUGGESTED = 10;

/** Event types, and prefixes of event types, that the event catalogue does not have. */
export async function problemsOfCatalogue(
  { eventType }: Pick<Prisma.TransactionClient, 'eventType'>,
  { eventTypes, known = [] }: EventTypesToCheck,
): Promise<InputProblem[]> {
  const isSettled = (pattern: string) =>
    pattern === '*' || !isEventTypePattern(pattern) || known.includes(pattern) || isOwn(pattern);
  // A list that is too long has no other problem reported.
  if (eventTypes.length > MAX_EVENT_TYPES || eventTypes.every(isSettled)) return [];
  const entries = await eventType.findMany({ select: { name: true, isArchived: true } });
  const names = entries.filter(({ isArchived }) => !isArchived).map(({ name }) => name);
  // Without a catalogue everything goes.
  if (names.length === 0) return [];
  const problems: InputProblem[] = [];
  for (const [index, pattern] of eventTypes.entries()) {
    if (isSettled(pattern) || names.some((name) => matchesPattern(pattern, name))) continue;
    const hint = problems.length < MAX_SUGGESTED ? suggest(pattern, names) : '';
    problems.push({ path: `eventTypes.${index}`, message: `${whyUnknown(pattern, entries)}${hint}` });
  }
  return problems;
}

/** The engine's own types are in no catalogue. */
function isOwn(pattern: string): boolean {
  return matchesPattern(pattern, TEST_EVENT_TYPE) || isOwnEventType(pattern);
}

function whyUnknown(pattern: string, entries: readonly CatalogueEntry[]): string {
  // Those that are not archived do not match, or nobody would ask.
  if (entries.some(({ name }) => matchesPattern(pattern, name))) return 'is archived in the event catalogue';
  return pattern.endsWith('.*') ? 'matches nothing in the event catalogue' : 'is not in the event catalogue';
}

function suggest(pattern: string, names: readonly string[]): string {
  const close = closeMatches(pattern, names);
  return close.length === 0 ? '' : `; did you mean ${close.join(', ')}?`;
}
