import type { SchemaProblem } from './compile-schema.ts';
import { hasOnlyFiniteNumbers, NUMBER_TOO_LARGE } from '../../lib/json-numbers.ts';
import { nestingOf } from '../../lib/json-scan.ts';
import { type SchemaThread, SchemaThreadUnavailableError } from './schema-thread.ts';

const MAX_SCHEMA_BYTES = 64 * 1024;
const MAX_NESTING = 64;

/** Why this cannot be the schema of an event type; empty if it can. The paths begin with `schema`. */
export async function findSchemaProblems(thread: SchemaThread, schema: unknown): Promise<readonly SchemaProblem[]> {
  if (!isObject(schema)) return [{ path: 'schema', message: 'must be a JSON object' }];
  // Async is Ajv's own word: such a schema answers later.
  if ('$async' in schema) return [{ path: 'schema.$async', message: 'is not known to JSON Schema' }];
  const json = textOf(schema);
  const message = json === undefined ? TOO_COMPLICATED : problemOfSize(json);
  if (message !== undefined || json === undefined) return [{ path: 'schema', message: message ?? TOO_COMPLICATED }];
  if (!hasOnlyFiniteNumbers(schema)) return [{ path: 'schema', message: NUMBER_TOO_LARGE }];
  try {
    return await thread.compile(json);
  } catch (error) {
    // Otherwise it took too much time or memory.
    const isUnavailable = error instanceof SchemaThreadUnavailableError;
    const why = isUnavailable ? `cannot be checked now: ${error.message}; try again` : TOO_COMPLICATED;
    return [{ path: 'schema', message: why }];
  }
}

const TOO_COMPLICATED = 'is too complicated';

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Undefined if it is nested beyond what can be written as text. */
function textOf(schema: object): string | undefined {
  try {
    return JSON.stringify(schema);
  } catch {
    return undefined;
  }
}

function problemOfSize(json: string): string | undefined {
  const bytes = Buffer.byteLength(json);
  if (bytes > MAX_SCHEMA_BYTES) return `has ${bytes} bytes, at most ${MAX_SCHEMA_BYTES} are accepted`;
  return nestingOf(json) > MAX_NESTING ? `is nested deeper than ${MAX_NESTING} levels` : undefined;
}
