import { type EventType, Prisma } from '../../generated/prisma/client.ts';
import { type InputProblem, InvalidInputError } from '../../lib/errors.ts';
import { yieldEventLoop } from '../../lib/event-loop.ts';
import { measure } from '../../lib/operation-work.ts';
import { closeMatches } from '../../lib/text.ts';
import { type Database, mutateWithPrisma } from '../../postgres/client.ts';
import { isEventType, isEventTypePattern, isSystemEventType, matchesPattern, TEST_EVENT_TYPE } from '../event-type.ts';
import { findSchemaProblems } from './compile.ts';
import type { SchemaThread } from './schema-thread.ts';

/** An absent field keeps its value, or gets its default if the type is new. `schema: null` removes the schema. */
export type EventTypeInput = {
  readonly name: string;
  readonly description?: string | null | undefined;
  /** JSON Schema. */
  readonly schema?: unknown;
  readonly isArchived?: boolean | null | undefined;
};

const MAX_DESCRIPTION_LENGTH = 1_000;
/** Maximum number of event types. All names are read when a subscription's event types are checked. */
const MAX_CATALOGUE_SIZE = 2_000;
/** Maximum event types of one subscription. */
export const MAX_EVENT_TYPES = 100;
/** Maximum problems with suggestions. One takes up to 10 ms of CPU time if the catalogue is full. */
const MAX_SUGGESTED = 10;

export type CatalogueServices = { readonly database: Database; readonly schemaThread: SchemaThread };

/** Creates or changes an entry of the event catalogue. Throws an InvalidInputError. */
export async function putEventType(services: CatalogueServices, input: EventTypeInput): Promise<EventType> {
  const { database } = services;
  const { name } = input;
  const values = await checkEventType(services, input);
  return mutateWithPrisma(database, async (transaction) => {
    const unchanged =
      Object.keys(values).length === 0 ? await transaction.eventType.findUnique({ where: { name } }) : null;
    if (unchanged !== null) {
      database.recorder?.omit();
      return unchanged;
    }
    return transaction.eventType.upsert({
      where: { name },
      create: { name, ...values },
      update: { ...values, version: { increment: 1 }, updatedAt: new Date(database.clock.now()) },
    });
  });
}

/** Validates the input and returns the columns to store. Throws an InvalidInputError with every problem. */
export async function checkEventType({ database, schemaThread }: CatalogueServices, input: EventTypeInput) {
  const { name, description, schema, isArchived } = input;
  const problems = findProblems(input);
  if (schema != null) problems.push(...(await findSchemaProblems(schemaThread, schema)));
  // An invalid name may contain NUL, which Postgres cannot store.
  const others = isEventType(name) ? await database.prisma.eventType.count({ where: { name: { not: name } } }) : 0;
  if (others >= MAX_CATALOGUE_SIZE)
    problems.push({ path: 'name', message: `would be one of more than ${MAX_CATALOGUE_SIZE}` });
  if (problems.length > 0) throw new InvalidInputError(problems);
  return {
    ...(description != null && { description }),
    ...(isArchived != null && { isArchived }),
    ...(schema !== undefined && { schema: toColumn(schema) }),
  };
}

function toColumn(schema: unknown): Prisma.InputJsonValue | typeof Prisma.DbNull {
  // `as`: findSchemaProblems has checked that it is a JSON object.
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
  return isSystemEventType(name) ? ['is reserved for events of the engine'] : [];
}

function problemOfDescription(description: string): string[] {
  if (description.length > MAX_DESCRIPTION_LENGTH) return [`may have at most ${MAX_DESCRIPTION_LENGTH} characters`];
  // Postgres cannot store NUL in text.
  return description.includes('\0') ? ['must not contain NUL characters'] : [];
}

type EventTypesToCheck = {
  readonly eventTypes: readonly string[];
  /** The event types that the subscription already has. They stay valid, even if they are archived. */
  readonly known?: readonly string[];
  /** Charges CPU time to the tenant's account, in milliseconds. */
  readonly spend: (ms: number) => void;
};

type CatalogueEntry = { readonly name: string; readonly isArchived: boolean };

/** The problems of event types and prefixes that match nothing in the event catalogue. */
export async function problemsOfUnknownTypes(
  { eventType }: Pick<Prisma.TransactionClient, 'eventType'>,
  { eventTypes, known = [], spend }: EventTypesToCheck,
): Promise<InputProblem[]> {
  const needsNoCheck = (pattern: string) =>
    pattern === '*' || !isEventTypePattern(pattern) || known.includes(pattern) || isReserved(pattern);
  // For a list that is too long, the caller reports only its length.
  if (eventTypes.length > MAX_EVENT_TYPES || eventTypes.every(needsNoCheck)) return [];
  const entries = await eventType.findMany({ select: { name: true, isArchived: true } });
  const names = entries.filter(({ isArchived }) => !isArchived).map(({ name }) => name);
  // Without a type that is not archived, every event type and prefix is allowed except the archived types themselves.
  const isAllowed =
    names.length === 0
      ? (pattern: string) => !entries.some(({ name }) => name === pattern)
      : (pattern: string) => names.some((name) => matchesPattern(pattern, name));
  const problems: InputProblem[] = [];
  for (const [index, pattern] of eventTypes.entries()) {
    if (needsNoCheck(pattern) || isAllowed(pattern)) continue;
    const hint = problems.length < MAX_SUGGESTED ? await suggest(pattern, names, spend) : '';
    problems.push({ path: `eventTypes.${index}`, message: `${reasonUnknown(pattern, entries)}${hint}` });
  }
  return problems;
}

/** The engine's event types are not in the catalogue. */
function isReserved(pattern: string): boolean {
  return matchesPattern(pattern, TEST_EVENT_TYPE) || isSystemEventType(pattern);
}

function reasonUnknown(pattern: string, entries: readonly CatalogueEntry[]): string {
  // No active type matches, so a matching one is archived.
  if (entries.some(({ name }) => matchesPattern(pattern, name))) return 'is archived in the event catalogue';
  return pattern.endsWith('.*') ? 'matches nothing in the event catalogue' : 'is not in the event catalogue';
}

async function suggest(pattern: string, names: readonly string[], spend: (ms: number) => void): Promise<string> {
  await yieldEventLoop();
  const close = measure({ spend, waitMs: () => 0 }, () => closeMatches(pattern, names));
  return close.length === 0 ? '' : `; did you mean ${close.join(', ')}?`;
}
