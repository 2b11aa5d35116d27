import { compileSchema, problemsOfSchema, type SchemaProblem } from './compile-schema.ts';
import { hasOnlyFiniteNumbers, NUMBER_TOO_LARGE } from './json-numbers.ts';
import { nestingOf } from './json-scan.ts';
import { withTimeLimit } from './time-limit.ts';

const MAX_SCHEMA_BYTES = 64 * 1024;
const MAX_NESTING = 64;
/** The largest schemas that made sense took 0.8 s. */
const MAX_COMPILE_MS = 5_000;
const MAX_MESSAGE_LENGTH = 500;

/** Why this cannot be the schema of an event type; empty if it can. The paths begin with `schema`. */
export function findSchemaProblems(schema: unknown): readonly SchemaProblem[] {
  if (!isObject(schema)) return [{ path: 'schema', message: 'must be a JSON object' }];
  // Async is Ajv's own word: such a schema answers later.
  if ('$async' in schema) return [{ path: 'schema.$async', message: 'is not known to JSON Schema' }];
  if (!hasOnlyFiniteNumbers(schema)) return [{ path: 'schema', message: NUMBER_TOO_LARGE }];
  try {
    const message = problemOfSize(JSON.stringify(schema));
    if (message !== undefined) return [{ path: 'schema', message }];
    return withTimeLimit(MAX_COMPILE_MS, () => {
      const problems = problemsOfSchema(schema);
      if (problems.length === 0) compileSchema(schema);
      return problems;
    });
  } catch (error) {
    return [{ path: 'schema', message: whyOf(error) }];
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function problemOfSize(json: string): string | undefined {
  const bytes = Buffer.byteLength(json);
  if (bytes > MAX_SCHEMA_BYTES) return `has ${bytes} bytes, at most ${MAX_SCHEMA_BYTES} are accepted`;
  return nestingOf(json) > MAX_NESTING ? `is nested deeper than ${MAX_NESTING} levels` : undefined;
}

function whyOf(error: unknown): string {
  // The stack was used up; or see time-limit.ts.
  if (!(error instanceof Error) || error instanceof RangeError || 'code' in error) return 'is too complicated';
  return `cannot be used: ${error.message.slice(0, MAX_MESSAGE_LENGTH)}`;
}
