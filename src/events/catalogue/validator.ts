import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { groupBy } from '../../lib/collections.ts';
import { InputError } from '../../lib/errors.ts';
import type { Queryable } from '../../postgres/client.ts';
import { knownEvents, type NewEvent } from '../store.ts';
import type { Mismatch } from './compile.ts';
import { type SchemaThread, SchemaThreadUnavailableError } from './schema-thread.ts';

/** An event type as it was read; `schema` is its JSON text, undefined if its data is not checked. */
type CataloguedType = { readonly version: number; readonly schema: string | undefined };
type Types = ReadonlyMap<string, CataloguedType>;

/** The types seen last are kept, with so many characters of schema in all. */
const MAX_CACHED_SCHEMA_LENGTH = 4 * 1024 * 1024;
/** For all the events that are checked together. 8 MiB of plain data take some 0.1 s. */
const MAX_CHECK_MS = 1_000;
/** For those of one type, so that something is left for the others. */
const MAX_TYPE_MS = 500;
/** To list the problems of what was refused; beyond it, each has its first. */
const MAX_EXPLAIN_MS = 200;
/** So long a schema is left alone after it took longer than that. */
const SUSPENDED_MS = 60_000;

/** Checks events against the schemas of the event catalogue, in the schema thread. The dispatcher and publishEvent have one each. */
export class EventValidator {
  readonly #thread: SchemaThread;
  readonly #log: Logger;
  readonly #types = new LRUCache<string, CataloguedType>({ maxSize: MAX_CACHED_SCHEMA_LENGTH });
  /** The event types that are not checked for now. */
  readonly #suspended = new LRUCache<string, true>({ max: 1_000, ttl: SUSPENDED_MS });

  constructor(thread: SchemaThread, log: Logger) {
    this.#thread = thread;
    this.#log = log;
  }

  /**
   * Which of these events break the schema of their type, by their ids; a schema counts from the moment its mutation has
   * answered. Takes its time, so it is not for a transaction. An event that was written before is left to whoever writes:
   * what its schema says by now is of no importance.
   */
  async findMismatches(db: Queryable, events: readonly NewEvent[]): Promise<Map<string, Mismatch>> {
    const types = await this.#readTypes(db, new Set(events.map(({ type }) => type)));
    const mismatches = await this.#check(events, types);
    if (mismatches.size === 0) return mismatches;
    const known = await knownEvents(
      db,
      events.filter(({ id }) => mismatches.has(id)),
    );
    for (const id of known.keys()) mismatches.delete(id);
    return mismatches;
  }

  async #readTypes(db: Queryable, names: ReadonlySet<string>): Promise<Map<string, CataloguedType>> {
    if (names.size === 0) return new Map();
    const types = new Map<string, CataloguedType>();
    for (const name of names) {
      const type = this.#types.get(name);
      if (type !== undefined) types.set(name, type);
    }
    const known = new Map([...names].map((name) => [name, types.get(name)?.version ?? 0] as const));
    for (const { name, version, schema } of await changedSchemas(db, known)) {
      const text = typeof schema === 'object' && schema !== null ? JSON.stringify(schema) : undefined;
      const type = { version, schema: text };
      types.set(name, type);
      this.#types.set(name, type, { size: 100 + (text?.length ?? 0) });
      this.#suspended.delete(name);
    }
    return types;
  }

  async #check(events: readonly NewEvent[], types: Types): Promise<Map<string, Mismatch>> {
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
        if (result.unusable !== undefined) this.#giveUp(name, { type, reason: result.unusable });
        if (result.unfinished === undefined && leftMs >= 1) continue;
        // Perhaps it was another one that left it too little.
        const dearest = longest(spentMs);
        spentMs.delete(dearest);
        this.#suspend(dearest, result.unfinished);
      } catch (error) {
        if (error instanceof SchemaThreadUnavailableError) throw error;
        this.#suspend(name, error);
      }
    }
    return mismatches;
  }

  /** It was compiled when it was saved, perhaps by another version of this program. No event is lost for that. */
  #giveUp(eventType: string, { type, reason }: { readonly type: CataloguedType; readonly reason: string }): void {
    this.#types.set(eventType, { version: type.version, schema: undefined }, { size: 100 });
    this.#log.error({ reason, eventType }, 'the schema of an event type cannot be used; its data is not checked');
  }

  /** An event whose check cannot be finished is accepted: better a wrong one delivered than a right one lost. */
  #suspend(eventType: string, reason: unknown): void {
    this.#suspended.set(eventType, true);
    const message =
      'checking data against the schema of its event type took too much; not checking that type for a minute';
    this.#log.error({ reason: String(reason), eventType }, message);
  }
}

/** The one of the largest number. */
function longest(spentMs: ReadonlyMap<string, number>): string {
  return [...spentMs].reduce((most, one) => (one[1] > most[1] ? one : most))[0];
}

/** The data is not as the schema of its event type wants it. Has the first 20 problems at most. */
export class EventDataInvalidError extends InputError {
  readonly code = 'EVENT_DATA_INVALID';

  constructor(mismatch: Mismatch) {
    super(
      mismatch.problems.map((problem) => ({ ...problem, code: 'EVENT_DATA_INVALID' })),
      describeMismatch(mismatch),
    );
  }
}

/** The first problem, and how many more there are. */
export function describeMismatch({ problems, count }: Mismatch): string {
  const [first] = problems;
  const more = count > 1 ? ` (and ${count - 1} more)` : '';
  return `${first?.path ?? 'data'} ${first?.message ?? 'is not valid'}${more}`;
}

type ChangedSchema = {
  /** The event type. */
  readonly name: string;
  readonly version: number;
  /** JSON Schema; null if the type has none. */
  readonly schema: unknown;
};

/** Of these event types, those in the catalogue that changed after the version that is known of them (0: none). */
async function changedSchemas(db: Queryable, known: ReadonlyMap<string, number>): Promise<ChangedSchema[]> {
  const { rows } = await db.query<Omit<ChangedSchema, 'version'> & { version: string }>(
    `SELECT t.name, t.version, t.schema
     FROM unnest($1::text[], $2::bigint[]) AS known (name, version)
     JOIN event_types t ON t.name = known.name AND t.version > known.version`,
    [[...known.keys()], [...known.values()]],
  );
  return rows.map((row) => ({ ...row, version: Number(row.version) }));
}
