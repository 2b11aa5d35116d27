import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { groupBy } from '../../lib/collections.ts';
import { InputError, type InputProblem } from '../../lib/errors.ts';
import type { Queryable } from '../../postgres/client.ts';
import type { Mismatch } from './compile.ts';
import { type SchemaThread, SchemaThreadUnavailableError } from './schema-thread.ts';

type ValidatedEvent = { readonly id: string; readonly type: string; readonly data: Buffer };

/** An event type as read from Postgres. `schema`: its JSON text; undefined if data of the type is not validated. */
type CataloguedType = { readonly version: number; readonly schema: string | undefined };
type Types = ReadonlyMap<string, CataloguedType>;

/** `isCurrent`: whether the result must include all changes committed before the call. */
type ReadOptions = { readonly isCurrent: boolean };

type Validation = {
  /** Mismatches by the event's id. */
  readonly mismatches: Map<string, Mismatch>;
  /** The versions of the event types that the events were validated against; 0: not in the catalogue. */
  readonly versions: ReadonlyMap<string, number>;
};

/** Maximum characters of schema text in the cache of event types. The least recently used type is dropped. */
const MAX_CACHED_SCHEMA_LENGTH = 4 * 1024 * 1024;
/** Time limit of one batch, in milliseconds. 8 MiB of simple data take about 100 ms. */
const MAX_CHECK_MS = 1_000;
/** Time limit of one event type within a batch, in milliseconds, so that time remains for other types. */
const MAX_TYPE_MS = 500;
/** Time limit for listing all problems in a batch, in milliseconds. The remaining events have only their first problem. */
const MAX_EXPLAIN_MS = 200;
/** Milliseconds for which events of a type are not validated after their validation exceeded a time limit. */
const SUSPENDED_MS = 60_000;

/** Validates events against the event catalogue, in the schema thread. */
export class EventValidator {
  readonly #thread: SchemaThread;
  readonly #log: Logger;
  readonly #types = new LRUCache<string, CataloguedType>({ maxSize: MAX_CACHED_SCHEMA_LENGTH });
  /** Event types whose validation is suspended. */
  readonly #suspended = new LRUCache<string, true>({ max: 1_000, ttl: SUSPENDED_MS });

  constructor(thread: SchemaThread, log: Logger) {
    this.#thread = thread;
    this.#log = log;
  }

  /**
   * Validates events against the schemas cached in this process, which may be outdated (insertBatch detects that by the
   * versions). With `isCurrent`, and before an event is rejected, the changes are read first. Validation may take seconds;
   * call this outside a transaction.
   */
  async validate(db: Queryable, events: readonly ValidatedEvent[], { isCurrent }: ReadOptions): Promise<Validation> {
    const names = new Set(events.map(({ type }) => type));
    let types: Types = isCurrent ? await this.#readTypes(db, names) : this.#knownTypes(names);
    let mismatches = await this.#check(events, types);
    if (mismatches.size > 0 && !isCurrent) {
      const before = versionsOf(names, types);
      types = await this.#readTypes(db, names);
      const isChanged = [...names].some((name) => before.get(name) !== (types.get(name)?.version ?? 0));
      if (isChanged) mismatches = await this.#check(events, types);
    }
    return { mismatches, versions: versionsOf(names, types) };
  }

  #knownTypes(names: ReadonlySet<string>): Map<string, CataloguedType> {
    return new Map(
      [...names].flatMap((name) => {
        const type = this.#types.get(name);
        return type === undefined ? [] : [[name, type] as const];
      }),
    );
  }

  async #readTypes(db: Queryable, names: ReadonlySet<string>): Promise<Map<string, CataloguedType>> {
    if (names.size === 0) return new Map();
    const types = this.#knownTypes(names);
    for (const { name, version, schema } of await changedSchemas(db, versionsOf(names, types))) {
      const text = typeof schema === 'object' && schema !== null ? JSON.stringify(schema) : undefined;
      const type = { version, schema: text };
      types.set(name, type);
      this.#types.set(name, type, { size: 100 + (text?.length ?? 0) });
      this.#suspended.delete(name);
    }
    return types;
  }

  async #check(events: readonly ValidatedEvent[], types: Types): Promise<Map<string, Mismatch>> {
    const mismatches = new Map<string, Mismatch>();
    const spentMs = new Map<string, number>();
    let [leftMs, explainMs] = [MAX_CHECK_MS, MAX_EXPLAIN_MS];
    for (const [name, ofType] of groupBy(events, ({ type }) => type)) {
      const type = types.get(name);
      if (type?.schema === undefined || this.#suspended.has(name) || leftMs < 1) continue;
      const data = ofType.map((event) => event.data);
      const limitMs = Math.floor(Math.min(MAX_TYPE_MS, leftMs));
      try {
        const result = await this.#thread.check({ schema: type.schema, data, limitMs, explainMs });
        leftMs -= result.checkMs;
        explainMs -= result.explainMs;
        spentMs.set(name, result.checkMs);
        for (const [index, { id }] of ofType.entries()) {
          const mismatch = result.mismatches[index];
          if (mismatch !== undefined) mismatches.set(id, mismatch);
        }
        if (result.unusable !== undefined) this.#disable(name, { type, reason: result.unusable });
        if (result.unfinished === undefined && leftMs >= 1) continue;
        // Another type may have used most of the time, so the slowest type is suspended.
        const slowest = slowestOf(spentMs);
        spentMs.delete(slowest);
        this.#suspend(slowest, result.unfinished);
      } catch (error) {
        if (error instanceof SchemaThreadUnavailableError) throw error;
        this.#suspend(name, error);
      }
    }
    return mismatches;
  }

  /** The schema could be compiled when it was saved, but perhaps by another version of the engine. No event is rejected. */
  #disable(eventType: string, { type, reason }: { readonly type: CataloguedType; readonly reason: string }): void {
    this.#types.set(eventType, { version: type.version, schema: undefined }, { size: 100 });
    this.#log.error({ reason, eventType }, 'schema unusable; data of the event type is not validated');
  }

  /** Events whose validation does not finish are accepted: delivering an invalid event is better than losing a valid one. */
  #suspend(eventType: string, reason: unknown): void {
    this.#suspended.set(eventType, true);
    const message = 'validation exceeded its time limit; data of the event type is not validated for a minute';
    this.#log.error({ reason: String(reason), eventType }, message);
  }
}

function versionsOf(names: ReadonlySet<string>, types: Types): Map<string, number> {
  return new Map([...names].map((name) => [name, types.get(name)?.version ?? 0] as const));
}

function slowestOf(spentMs: ReadonlyMap<string, number>): string {
  return [...spentMs].reduce((most, one) => (one[1] > most[1] ? one : most))[0];
}

/** The event's data violates the schema of its event type. Carries the first 20 problems at most. */
export class EventDataInvalidError extends InputError {
  readonly code = 'EVENT_DATA_INVALID';

  constructor(mismatch: Mismatch) {
    super(problemsOfData(mismatch), describeMismatch(mismatch));
  }
}

/** The problems in the form of the API. */
export function problemsOfData({ problems }: Mismatch): InputProblem[] {
  return problems.map((problem) => ({ ...problem, code: 'EVENT_DATA_INVALID' }));
}

/** The first problem and the number of further ones. */
export function describeMismatch({ problems, count }: Mismatch): string {
  const [first] = problems;
  const more = count > 1 ? ` (and ${count - 1} more)` : '';
  return `${first?.path ?? 'data'} ${first?.message ?? 'is not valid'}${more}`;
}

type ChangedSchema = {
  /** Name of the event type. */
  readonly name: string;
  readonly version: number;
  /** JSON Schema; null if the type has none. */
  readonly schema: unknown;
};

/** Returns those of these event types that changed after their known version (0: unknown) in the catalogue. */
async function changedSchemas(db: Queryable, known: ReadonlyMap<string, number>): Promise<ChangedSchema[]> {
  const { rows } = await db.query<Omit<ChangedSchema, 'version'> & { version: string }>(
    `SELECT t.name, t.version, t.schema
     FROM unnest($1::text[], $2::bigint[]) AS known (name, version)
     JOIN event_types t ON t.name = known.name AND t.version > known.version`,
    [[...known.keys()], [...known.values()]],
  );
  return rows.map((row) => ({ ...row, version: Number(row.version) }));
}
