import { parentPort } from 'node:worker_threads';
import { LRUCache } from 'lru-cache';
import { isObject } from '../../lib/json.ts';
import { withTimeLimit } from '../../lib/time-limit.ts';
import { type CompiledSchema, compileSchema, type Mismatch, problemsOfSchema, type SchemaProblem } from './compile.ts';

/** A message of SchemaThread to this thread. The reply is `SchemaProblem[]` or a `CheckResult`. */
export type SchemaTask =
  | { readonly kind: 'compile'; readonly schema: string }
  | {
      readonly kind: 'check';
      readonly schema: string;
      /** JSON texts in UTF-8, concatenated. */
      readonly data: Uint8Array<ArrayBuffer>;
      readonly lengths: readonly number[];
      readonly limitMs: number;
      readonly explainMs: number;
      readonly compileMs?: number;
    };

export type CheckResult = {
  /** One entry per item of `data`; undefined if the item is valid or was not checked. */
  readonly mismatches: readonly (Mismatch | undefined)[];
  /** The number of items that were checked, counted from the first. */
  readonly checkedCount: number;
  /** The reason why the schema cannot be compiled; then nothing was checked. */
  readonly unusable?: string;
  /** The time limit because of which the remaining data was not checked. */
  readonly unfinished?: string;
  /** Without compilation, unless that exceeded its time limit. */
  readonly checkMs: number;
  readonly explainMs: number;
};

/** Time limit of one compilation. The largest realistic schemas took 0.8 s. */
const MAX_COMPILE_MS = 5_000;
/** Time limit for listing the problems of one event. */
const MAX_EXPLAIN_MS = 50;
const MAX_MESSAGE_LENGTH = 500;
/** Maximum characters of schema text in the cache of compiled schemas. The least recently used schema is dropped. */
const MAX_CACHED_SCHEMA_LENGTH = 4 * 1024 * 1024;

/** Compiled schemas by their text; an Error for a schema that cannot be compiled. */
const compiled = new LRUCache<string, CompiledSchema | Error>({ maxSize: MAX_CACHED_SCHEMA_LENGTH });

// `as`: SchemaThread sends no other messages.
parentPort?.on('message', (task: SchemaTask) => {
  parentPort?.postMessage(task.kind === 'compile' ? findProblems(task.schema) : check(task));
});

function findProblems(text: string): readonly SchemaProblem[] {
  try {
    // `as`: SchemaThread.compile is only called with objects.
    const schema = JSON.parse(text) as object;
    return withTimeLimit(MAX_COMPILE_MS, () => {
      const problems = problemsOfSchema(schema);
      if (problems.length === 0) compileSchema(schema);
      return problems;
    });
  } catch (error) {
    return [{ path: 'schema', message: reasonOf(error) }];
  }
}

function reasonOf(error: unknown): string {
  // RangeError: stack overflow.
  if (isTimeout(error) || !(error instanceof Error) || error instanceof RangeError) return 'is too complicated';
  return `cannot be used: ${error.message.slice(0, MAX_MESSAGE_LENGTH)}`;
}

/** Whether withTimeLimit ended the work. Its error is not an instance of this thread's Error. */
function isTimeout(error: unknown): boolean {
  return isObject(error) && error['code'] === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
}

type CheckTask = Extract<SchemaTask, { readonly kind: 'check' }>;

function check({ schema: text, data, lengths, limitMs, explainMs, compileMs }: CheckTask): CheckResult {
  const mismatches: (Mismatch | undefined)[] = lengths.map(() => undefined);
  const unchecked = { mismatches, checkedCount: 0, explainMs: 0 };
  let schema: CompiledSchema | Error;
  let began = performance.now();
  try {
    schema = compile(text, compileMs);
  } catch (error) {
    return { ...unchecked, unfinished: String(error), checkMs: performance.now() - began };
  }
  if (schema instanceof Error) return { ...unchecked, unusable: schema.message, checkMs: 0 };
  began = performance.now();
  const values = split(data, lengths);
  let checkedCount = 0;
  let unfinished: string | undefined;
  try {
    // One time limit for all data, because each costs 80 µs. Mismatches found before the limit are reported.
    withTimeLimit(limitMs, () => {
      for (const [index, value] of values.entries()) {
        mismatches[index] = schema.check(parse(value));
        checkedCount += 1;
      }
    });
  } catch (error) {
    unfinished = String(error);
  }
  const checkMs = performance.now() - began;
  const explained = explain(schema, { mismatches, values, limitMs: explainMs });
  return { mismatches, checkedCount, checkMs, explainMs: explained, ...(unfinished !== undefined && { unfinished }) };
}

type Explaining = {
  readonly mismatches: (Mismatch | undefined)[];
  readonly values: readonly Buffer[];
  readonly limitMs: number;
};

/** Replaces the first problem of each mismatch by all its problems. Returns the milliseconds taken, without compilation. */
function explain(schema: CompiledSchema, { mismatches, values, limitMs }: Explaining): number {
  if (limitMs < 1 || mismatches.every((mismatch) => mismatch === undefined)) return 0;
  let leftMs = limitMs;
  try {
    const explainer = withTimeLimit(MAX_COMPILE_MS, () => schema.explainer());
    for (const [index, value] of values.entries()) {
      const eventMs = Math.floor(Math.min(MAX_EXPLAIN_MS, leftMs));
      if (mismatches[index] === undefined || eventMs < 1) continue;
      const began = performance.now();
      try {
        const mismatch = withTimeLimit(eventMs, () => explainer(parse(value)));
        if (mismatch.count > 0) mismatches[index] = mismatch;
      } catch {
        // The time limit was exceeded: the mismatch keeps only its first problem.
      }
      leftMs -= performance.now() - began;
    }
  } catch {
    // Compiling the explainer failed: the mismatches keep only their first problems.
  }
  return limitMs - leftMs;
}

/** Returns an Error for a schema that cannot be compiled. Throws if the time limit is exceeded. */
function compile(text: string, limitMs = MAX_COMPILE_MS): CompiledSchema | Error {
  const cached = compiled.get(text);
  if (cached !== undefined) return cached;
  let schema: CompiledSchema | Error;
  try {
    // `as`: the schema was validated when it was saved.
    schema = withTimeLimit(limitMs, () => compileSchema(JSON.parse(text) as object));
  } catch (error) {
    // Not cached: on a machine that stalls, any schema exceeds the limit.
    if (isTimeout(error)) throw error;
    schema = error instanceof Error ? error : new Error(String(error));
  }
  compiled.set(text, schema, { size: 100 + text.length });
  return schema;
}

function split({ buffer }: Uint8Array<ArrayBuffer>, lengths: readonly number[]): Buffer[] {
  let offset = 0;
  return lengths.map((length) => {
    offset += length;
    return Buffer.from(buffer, offset - length, length);
  });
}

function parse(data: Buffer): unknown {
  return JSON.parse(data.toString());
}
