import type { Database } from '../../postgres/client.ts';
import { isEventType, isOwnEventType } from '../event-type.ts';
import { findSchemaProblems } from './schema-problems.ts';
import type { SchemaThread } from './schema-thread.ts';
import { type EventType, Prisma } from '../../generated/prisma/client.ts';
import { type InputProblem, InvalidInputError } from '../../lib/webhook-subscription-errors.ts';

/** A field that is absent keeps its value, or its default when the type is new; `schema: null` removes the schema. */
export type EventTypeInput = {
  readonly name: string;
  readonly description?: string | null | undefined;
  /** JSON Schema. */
  readonly schema?: unknown;
  readonly isArchived?: boolean | null | undefined;
};

const MAX_DESCRIPTION_LENGTH = 1_000;
/** Who checks a subscription reads all names. */
const MAX_EVENT_TYPES = 2_000;

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
  if (others >= MAX_EVENT_TYPES)
    problems.push({ path: 'name', message: `would be one of more than ${MAX_EVENT_TYPES}` });
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
  return isOwnEventType(name) ? ['is a type of the engine itself'] : [];
}

function problemOfDescription(description: string): string[] {
  if (description.length > MAX_DESCRIPTION_LENGTH) return [`may have at most ${MAX_DESCRIPTION_LENGTH} characters`];
  // Postgres has no text with a NUL in it.
  return description.includes('\0') ? ['must not contain NUL characters'] : [];
}
