import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { changedSchemas } from '../database/changed-schemas.ts';
import type { NewEvent } from '../database/insert-events.ts';
import { knownEvents } from '../database/known-events.ts';
import type { Queryable } from '../database/transaction.ts';
import { compileSchema, type Mismatch, type SchemaCheck } from './compile-schema.ts';
import { withTimeLimit } from './time-limit.ts';

/** An event type as it was read; `check` is undefined while its data is not checked. */
type CataloguedType = { readonly version: number; readonly check: SchemaCheck | undefined };

/** The types seen last are kept, with so many characters of schema in all. */
const MAX_CACHED_SCHEMA_LENGTH = 4 * 1024 * 1024;
/** For all the events of a transaction, or for each one if that was not enough. 8 MiB of plain data take some 0.1 s. */
const MAX_CHECK_MS = 500;
/** So long a schema is left alone after it took longer than that. */
const SUSPENDED_MS = 60_000;

/** The schemas of the event catalogue, compiled. One for each who writes events: it does one thing at a time. */
export class EventCatalogue {
  readonly #log: Logger;
  readonly #types = new LRUCache<string, CataloguedType>({ maxSize: MAX_CACHED_SCHEMA_LENGTH });
  /** The event types that are not checked for now. */
  readonly #suspended = new LRUCache<string, true>({ max: 1_000, ttl: SUSPENDED_MS });

  constructor(log: Logger) {
    this.#log = log;
  }

  /**
   * Which of these events break the schema of their type, by their ids. To be called in the transaction that is to write
   * them, so that a schema counts from the moment its mutation has answered. An event that was written before is left
   * to whoever writes: what its schema says by now is of no importance.
   */
  async findMismatches(db: Queryable, events: readonly NewEvent[]): Promise<Map<string, Mismatch>> {
    const types = await this.#readTypes(db, new Set(events.map(({ type }) => type)));
    const checked = events.filter(({ type }) => types.get(type)?.check !== undefined);
    const mismatches = this.#check(checked, types);
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
      const type = { version, check: this.#compile(name, schema) };
      types.set(name, type);
      this.#types.set(name, type, { size: 100 + JSON.stringify(schema).length });
      this.#suspended.delete(name);
    }
    return types;
  }

  #compile(eventType: string, schema: unknown): SchemaCheck | undefined {
    if (typeof schema !== 'object' || schema === null) return undefined;
    try {
      return compileSchema(schema);
    } catch (error) {
      // It was compiled when it was saved, perhaps by another version of this program. No event is lost for that.
      this.#log.error({ err: error, eventType }, 'the schema of an event type cannot be used; its data is not checked');
      return undefined;
    }
  }

  #check(events: readonly NewEvent[], types: ReadonlyMap<string, CataloguedType>): Map<string, Mismatch> {
    const toCheck = events.filter(({ type }) => !this.#suspended.has(type));
    if (toCheck.length === 0) return new Map();
    try {
      return withTimeLimit(MAX_CHECK_MS, () => {
        const mismatches = new Map<string, Mismatch>();
        for (const { id, type, data } of toCheck) {
          const mismatch = types.get(type)?.check?.(JSON.parse(data.toString()));
          if (mismatch !== undefined) mismatches.set(id, mismatch);
        }
        return mismatches;
      });
    } catch (error) {
      const [first] = toCheck;
      if (toCheck.length === 1 && first !== undefined) {
        this.#suspend(first.type, error);
        return new Map();
      }
      return new Map(toCheck.flatMap((event) => [...this.#check([event], types)]));
    }
  }

  /** An event whose check cannot be finished is accepted: better a wrong one delivered than a right one lost. */
  #suspend(eventType: string, err: unknown): void {
    this.#suspended.set(eventType, true);
    const message =
      'checking data against the schema of its event type took too much; not checking that type for a minute';
    this.#log.error({ err, eventType }, message);
  }
}
