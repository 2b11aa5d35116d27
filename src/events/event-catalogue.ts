import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { changedSchemas } from '../database/changed-schemas.ts';
import type { NewEvent } from '../database/insert-events.ts';
import { knownEvents } from '../database/known-events.ts';
import type { Queryable } from '../database/transaction.ts';
import { yieldEventLoop } from '../event-loop.ts';
import { groupBy } from '../group-by.ts';
import { type CompiledSchema, compileSchema, type Mismatch } from './compile-schema.ts';
import { parseData } from './event-data.ts';
import { withTimeLimit } from './time-limit.ts';

/** An event type as it was read; `schema` is undefined if its data is not checked. */
type CataloguedType = { readonly version: number; readonly schema: CompiledSchema | undefined };
type Types = ReadonlyMap<string, CataloguedType>;

/** The types seen last are kept, with so many characters of schema in all. */
const MAX_CACHED_SCHEMA_LENGTH = 4 * 1024 * 1024;
/** For all the events that are checked together. 8 MiB of plain data take some 0.1 s. */
const MAX_CHECK_MS = 1_000;
/** For those of one type, so that something is left for the others. */
const MAX_TYPE_MS = 500;
/** To list the problems of what was refused, of one event and of all; beyond it, each has its first. */
const MAX_EXPLAIN_MS = 50;
const MAX_EXPLAIN_ALL_MS = 200;
/** So long a schema is left alone after it took longer than that. */
const SUSPENDED_MS = 60_000;

/** The schemas of the event catalogue, compiled. One for each who writes events. */
export class EventCatalogue {
  readonly #log: Logger;
  readonly #types = new LRUCache<string, CataloguedType>({ maxSize: MAX_CACHED_SCHEMA_LENGTH });
  /** The event types that are not checked for now. */
  readonly #suspended = new LRUCache<string, true>({ max: 1_000, ttl: SUSPENDED_MS });

  constructor(log: Logger) {
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
    await explain(mismatches, { events, types });
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
      const type = { version, schema: this.#compile(name, schema) };
      types.set(name, type);
      this.#types.set(name, type, { size: 100 + JSON.stringify(schema).length });
      this.#suspended.delete(name);
    }
    return types;
  }

  #compile(eventType: string, schema: unknown): CompiledSchema | undefined {
    if (typeof schema !== 'object' || schema === null) return undefined;
    try {
      return compileSchema(schema);
    } catch (error) {
      // It was compiled when it was saved, perhaps by another version of this program. No event is lost for that.
      this.#log.error({ err: error, eventType }, 'the schema of an event type cannot be used; its data is not checked');
      return undefined;
    }
  }

  /** One event after the other, with turns of the event loop for others in between. */
  async #check(events: readonly NewEvent[], types: Types): Promise<Map<string, Mismatch>> {
    const mismatches = new Map<string, Mismatch>();
    const spentMs = new Map<string, number>();
    let leftMs = MAX_CHECK_MS;
    for (const [type, ofType] of groupBy(events, ({ type }) => type)) {
      const schema = this.#suspended.has(type) ? undefined : types.get(type)?.schema;
      if (schema === undefined || leftMs < 1) continue;
      let typeMs = 0;
      let error: unknown;
      for (const { id, data } of ofType) {
        await yieldEventLoop();
        const limitMs = Math.floor(Math.min(MAX_TYPE_MS - typeMs, leftMs));
        const began = performance.now();
        try {
          if (limitMs < 1) throw new Error('the time for events of one type is used up');
          const mismatch = withTimeLimit(limitMs, () => schema.check(parseData(data)));
          if (mismatch !== undefined) mismatches.set(id, mismatch);
        } catch (caught) {
          error = caught;
        }
        const tookMs = performance.now() - began;
        typeMs += tookMs;
        leftMs -= tookMs;
        if (error !== undefined || leftMs < 1) break;
      }
      spentMs.set(type, typeMs);
      if (error === undefined && leftMs >= 1) continue;
      // Perhaps it was another one that left it too little.
      const dearest = longest(spentMs);
      spentMs.delete(dearest);
      this.#suspend(dearest, error);
    }
    return mismatches;
  }

  /** An event whose check cannot be finished is accepted: better a wrong one delivered than a right one lost. */
  #suspend(eventType: string, err: unknown): void {
    this.#suspended.set(eventType, true);
    const message =
      'checking data against the schema of its event type took too much; not checking that type for a minute';
    this.#log.error({ err, eventType }, message);
  }
}

async function explain(
  mismatches: Map<string, Mismatch>,
  { events, types }: { readonly events: readonly NewEvent[]; readonly types: Types },
): Promise<void> {
  let leftMs = MAX_EXPLAIN_ALL_MS;
  for (const { id, type, data } of events) {
    const limitMs = Math.floor(Math.min(MAX_EXPLAIN_MS, leftMs));
    const schema = types.get(type)?.schema;
    if (schema === undefined || limitMs < 1 || !mismatches.has(id)) continue;
    await yieldEventLoop();
    const began = performance.now();
    try {
      const explainer = schema.explainer();
      const mismatch = withTimeLimit(limitMs, () => explainer(parseData(data)));
      if (mismatch.count > 0) mismatches.set(id, mismatch);
    } catch {
      // The first problem has to do.
    }
    leftMs -= performance.now() - began;
  }
}

/** The one of the largest number. */
function longest(spentMs: ReadonlyMap<string, number>): string {
  return [...spentMs].reduce((most, one) => (one[1] > most[1] ? one : most))[0];
}
