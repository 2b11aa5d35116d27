import { type EventType, Prisma } from '../../generated/prisma/client.ts';
import { type InputProblem, InvalidInputError } from '../../lib/errors.ts';
import { closeMatches } from '../../lib/text.ts';
import type { Database } from '../../postgres/client.ts';
import { isEventType, isEventTypePattern, isSystemEventType, matchesPattern, TEST_EVENT_TYPE } from '../event-type.ts';
import { findSchemaProblems } from './compile.ts';
import type { SchemaThread } from './schema-thread.ts';

/** A field that is absent keeps its value, or its default when the type is new; `schema: null` removes the schema. */
type EventTypeInput = {
  readonly name: string;
  readonly description?: string | null | undefined;
  /** JSON Schema. */
  readonly schema?: unknown;
  readonly isArchived?: boolean | null | undefined;
};

const MAX_DESCRIPTION_LENGTH = 1_000;
/** Who checks a subscription reads all names. */
const MAX_CATALOGUE_SIZE = 2_000;

type Services = { readonly database: Database; readonly schemaThread: SchemaThread };

/** Creates or changes an entry of the event catalogue. Throws an InvalidInputError. */
export async function putEventType(
  { database: { prisma, clock }, schemaThread }: Services,
  input: EventTypeInput,
): Promise<EventType> {
  const { name, description, schema, isArchived } = input;
  const values = {
    ...(description != null && { description }),
    ...(isArchived != null && { isArchived }),
    ...(schema !== undefined && { schema: toColumn(schema) }),
  };
  const problems = findProblems(input);
  if (schema != null) problems.push(...(await findSchemaProblems(schemaThread, schema)));
  // Postgres has no text with a NUL in it.
  const others = isEventType(name) ? await prisma.eventType.count({ where: { name: { not: name } } }) : 0;
  if (others >= MAX_CATALOGUE_SIZE)
    problems.push({ path: 'name', message: `would be one of more than ${MAX_CATALOGUE_SIZE}` });
  if (problems.length > 0) throw new InvalidInputError(problems);
  return prisma.eventType.upsert({
    where: { name },
    create: { name, ...values },
    update: { ...values, version: { increment: 1 }, updatedAt: new Date(clock.now()) },
  });
}

function toColumn(schema: unknown): Prisma.InputJsonValue | typeof Prisma.DbNull {
  // `as`: findProblems has seen that it is a JSON object.
  return schema === null ? Prisma.DbNull : (schema as Prisma.InputJsonObject);
}

function findProblems({ name, description }: EventTypeInput): InputProblem[] {
  return [
    ...problemOfName(name).map((message) => ({ path: 'name', message })),
    ...problemOfDescription(description ?? '').map((message) => ({ path: 'description', message })),
  ];
}

function problemOfName(name: string): string[] {
  if (!isEventType(name)) return ['must be an event type such as conversation.created'];
  return isSystemEventType(name) ? ['is a type of the engine itself'] : [];
}

function problemOfDescription(description: string): string[] {
  if (description.length > MAX_DESCRIPTION_LENGTH) return [`may have at most ${MAX_DESCRIPTION_LENGTH} characters`];
  // Postgres has no text with a NUL in it.
  return description.includes('\0') ? ['must not contain NUL characters'] : [];
}

type EventTypesToCheck = {
  readonly eventTypes: readonly string[];
  /** What the subscription asks for already: types that were archived since stay. */
  readonly known?: readonly string[];
};

type CatalogueEntry = { readonly name: string; readonly isArchived: boolean };

/** So many problems name what may have been meant. */
const MAX_SUGGESTED = 10;

/** Event types, and prefixes of event types, that the event catalogue does not have. */
export async function problemsOfEventTypes(
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
  return matchesPattern(pattern, TEST_EVENT_TYPE) || isSystemEventType(pattern);
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

export const MAX_EVENT_TYPES = 100;
