import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { hasOnlyFiniteNumbers, isObject, NUMBER_TOO_LARGE, nestingOf } from '../../lib/json.ts';
import { type SchemaThread, SchemaThreadUnavailableError } from './schema-thread.ts';

/** `path` begins with `data` (such as `data.user.age`), or with `schema` for a problem of the schema itself. */
export type SchemaProblem = { readonly path: string; readonly message: string };

/** The problems of invalid data: the first 20, and their total number. */
export type Mismatch = { readonly problems: readonly SchemaProblem[]; readonly count: number };

export type CompiledSchema = {
  /** The first problem found; undefined if the data is valid. */
  readonly check: (data: unknown) => Mismatch | undefined;
  /**
   * Returns a function that lists all problems of invalid data. It is compiled on the first call. It takes much longer than
   * `check`, because data can have millions of problems.
   */
  readonly explainer: () => (data: unknown) => Mismatch;
};

const MAX_PROBLEMS = 20;
const MAX_PATH_LENGTH = 256;
const MAX_SCHEMA_BYTES = 64 * 1024;
const MAX_NESTING = 64;
const TOO_COMPLICATED = 'is too complicated';

/** Throws an Error for a schema that is not valid under draft 2020-12, or that refers to another document. */
export function compileSchema(schema: object): CompiledSchema {
  const validate = createAjv({ allErrors: false }).compile(schema);
  let validateAll: ValidateFunction | undefined;
  return {
    check: (data) => (validate(data) ? undefined : mismatchOf(validate)),
    explainer: () => {
      const all = (validateAll ??= createAjv({ allErrors: true }).compile(schema));
      return (data) => {
        all(data);
        const mismatch = mismatchOf(all);
        // Frees the errors, which Ajv keeps until the next call.
        all.errors = null;
        return mismatch;
      };
    },
  };
}

/** The violations of draft 2020-12 in a schema. Throws an Error if it names another draft. */
export function problemsOfSchema(schema: object): SchemaProblem[] {
  const ajv = createAjv({ allErrors: true });
  if (ajv.validateSchema(schema) === true) return [];
  return (ajv.errors ?? []).slice(0, MAX_PROBLEMS).map((error) => toProblem('schema', error));
}

/**
 * Each schema has its own instance, so that no schema can refer to another. Strict mode, because a misspelt keyword would
 * otherwise be ignored silently; the strict rules about style are off.
 */
function createAjv({ allErrors }: { readonly allErrors: boolean }): Ajv2020 {
  const ajv = new Ajv2020({
    strict: true,
    strictTypes: false,
    strictTuples: false,
    strictRequired: false,
    allErrors,
    // Inlining references can expand a small schema to many times its size.
    inlineRefs: false,
    logger: false,
    // Ajv supports this keyword of the draft, but strict mode rejects it unless it is declared.
    keywords: ['$anchor'],
  });
  addFormats.default(ajv);
  return ajv;
}

function mismatchOf({ errors }: ValidateFunction): Mismatch {
  const all = errors ?? [];
  return { problems: all.slice(0, MAX_PROBLEMS).map((error) => toProblem('data', error)), count: all.length };
}

/** Ajv's messages quote the schema and never the data. Paths, however, contain member names of the data. */
function toProblem(root: string, { instancePath, message = 'is not valid', params }: ErrorObject): SchemaProblem {
  const extra: unknown = params['additionalProperty'] ?? params['unevaluatedProperty'];
  const names = instancePath.split('/').slice(1).map(unescapePointer);
  const path = [root, ...names, ...(typeof extra === 'string' ? [extra] : [])].join('.');
  // Postgres cannot store NUL in text.
  const shown = path.slice(0, MAX_PATH_LENGTH).toWellFormed().replaceAll('\0', '\uFFFD');
  return { path: shown, message: typeof extra === 'string' ? 'must not be there' : message.slice(0, MAX_PATH_LENGTH) };
}

/** Unescapes a reference token of a JSON Pointer (RFC 6901). */
function unescapePointer(name: string): string {
  return name.replaceAll('~1', '/').replaceAll('~0', '~');
}

/** The problems because of which this value cannot be the schema of an event type. Their paths begin with `schema`. */
export async function findSchemaProblems(thread: SchemaThread, schema: unknown): Promise<readonly SchemaProblem[]> {
  if (!isObject(schema)) return [{ path: 'schema', message: 'must be a JSON object' }];
  // `$async` is an extension of Ajv that makes validation asynchronous.
  if ('$async' in schema) return [{ path: 'schema.$async', message: 'is not known to JSON Schema' }];
  const json = textOf(schema);
  const message = json === undefined ? TOO_COMPLICATED : problemOfSize(json);
  if (message !== undefined || json === undefined) return [{ path: 'schema', message: message ?? TOO_COMPLICATED }];
  if (!hasOnlyFiniteNumbers(schema)) return [{ path: 'schema', message: NUMBER_TOO_LARGE }];
  try {
    return await thread.compile(json);
  } catch (error) {
    return [problemOfThread(error)];
  }
}

/** The problem to report after the schema thread failed to compile a schema or to check data against it. */
export function problemOfThread(error: unknown): SchemaProblem {
  // Any other error means that it took too much time or memory.
  const isUnavailable = error instanceof SchemaThreadUnavailableError;
  const message = isUnavailable ? `cannot be checked now: ${error.message}; try again` : TOO_COMPLICATED;
  return { path: 'schema', message };
}

/** Undefined if the schema is nested too deeply for JSON.stringify. */
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
