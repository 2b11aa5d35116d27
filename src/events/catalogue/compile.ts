import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { hasOnlyFiniteNumbers, NUMBER_TOO_LARGE, nestingOf } from '../../lib/json.ts';
import { type SchemaThread, SchemaThreadUnavailableError } from './schema-thread.ts';

/** `path` begins with `data`, or with `schema` for a schema that is none: `data.user.age`. */
export type SchemaProblem = { readonly path: string; readonly message: string };

/** What is wrong with data: the first 20 problems of so many. */
export type Mismatch = { readonly problems: readonly SchemaProblem[]; readonly count: number };

export type CompiledSchema = {
  /** The first problem that is found; undefined if the data is as its schema wants it. */
  readonly check: (data: unknown) => Mismatch | undefined;
  /**
   * What makes a list of all the problems of data that was refused. It is compiled when it is asked for, and takes far
   * longer: data can have millions of them.
   */
  readonly explainer: () => (data: unknown) => Mismatch;
};

const MAX_PROBLEMS = 20;
const MAX_PATH_LENGTH = 256;

/** Throws an Error for what is no JSON Schema of draft 2020-12, or refers to something outside itself. */
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
        // It would keep them until it is called again.
        all.errors = null;
        return mismatch;
      };
    },
  };
}

/** The places where a schema breaks the rules of draft 2020-12. Throws an Error if it names another draft. */
export function problemsOfSchema(schema: object): SchemaProblem[] {
  const ajv = createAjv({ allErrors: true });
  if (ajv.validateSchema(schema) === true) return [];
  return (ajv.errors ?? []).slice(0, MAX_PROBLEMS).map((error) => toProblem('schema', error));
}

/**
 * Each schema has an instance of its own, so that none can refer to another. Strict, because a keyword that is misspelt
 * would otherwise check nothing without a word; but what only looks odd is left to the author.
 */
function createAjv({ allErrors }: { readonly allErrors: boolean }): Ajv2020 {
  const ajv = new Ajv2020({
    ...{ strict: true, strictTypes: false, strictTuples: false, strictRequired: false },
    // Copying what is referred to can make much of a small schema.
    ...{ allErrors, inlineRefs: false, logger: false },
    // Known to the draft, and followed, but not to strict mode.
    keywords: ['$anchor'],
  });
  addFormats.default(ajv);
  return ajv;
}

function mismatchOf({ errors }: ValidateFunction): Mismatch {
  const all = errors ?? [];
  return { problems: all.slice(0, MAX_PROBLEMS).map((error) => toProblem('data', error)), count: all.length };
}

/** Ajv's messages quote the schema, never the data; but paths have names of it. */
function toProblem(root: string, { instancePath, message = 'is not valid', params }: ErrorObject): SchemaProblem {
  const extra: unknown = params['additionalProperty'] ?? params['unevaluatedProperty'];
  const names = instancePath.split('/').slice(1).map(unescapePointer);
  const path = [root, ...names, ...(typeof extra === 'string' ? [extra] : [])].join('.');
  // Postgres has no text with a NUL in it.
  const shown = path.slice(0, MAX_PATH_LENGTH).toWellFormed().replaceAll('\0', '\uFFFD');
  return { path: shown, message: typeof extra === 'string' ? 'must not be there' : message.slice(0, MAX_PATH_LENGTH) };
}

/** RFC 6901. */
function unescapePointer(name: string): string {
  return name.replaceAll('~1', '/').replaceAll('~0', '~');
}

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
