import { LRUCache } from 'lru-cache';
import { yieldEventLoop } from '../../lib/event-loop.ts';
import type { Queryable } from '../../postgres/client.ts';
import { patternsOf } from '../event-type.ts';
import { type CompiledFilter, compileFilter, MAX_FILTER_STEPS } from './filter.ts';

export type MatchedSubscription = { readonly id: string; readonly version: number };

export type Match = {
  /** The tenant's version at which the event was matched. */
  readonly version: number;
  readonly subscriptions: readonly MatchedSubscription[];
  /** Filters of subscriptions from this id on were not evaluated, because the previous ones exhausted the budget. */
  readonly filterBudgetExhaustedAt: string | undefined;
};

type Entry = MatchedSubscription & {
  readonly eventTypes: readonly string[];
  /** Undefined: no filter. */
  readonly filter: CompiledFilter | undefined;
  readonly weight: number;
};

/**
 * Maximum filter steps for one event, so that a tenant with many filters does not delay other tenants' events. The filter
 * that exceeds it is still finished.
 */
const MAX_EVENT_STEPS = 1_000_000;
/** Filter steps in one turn of the event loop: at most 2 ms. */
const STEPS_PER_TURN = 10_000;

/** One unit of weight is the 300 bytes of a subscription; a compiled filter takes up to 90 times the size of its JSON (measured). */
const JSON_BYTES_PER_WEIGHT = 4;

/** One tenant's active subscriptions by event type pattern, updated by applying changes in order. */
export class SubscriptionIndex {
  readonly #active = new Map<string, Entry>();
  readonly #byPattern = new Map<string, Set<string>>();
  #version = 0;
  #weight = 0;

  /** The tenant's version up to which changes have been applied. */
  get version(): number {
    return this.#version;
  }

  /** The weight in the cache: one for each active subscription, and more for its filter. */
  get weight(): number {
    return this.#weight;
  }

  /** Ignores changes that are already applied: of two concurrent reads, the older may be applied last. */
  apply(change: ChangedSubscription, entry = createEntry(change)): void {
    if (change.version <= this.#version) return;
    this.#remove(change.id);
    if (entry !== undefined) this.#add(entry);
    this.#version = change.version;
  }

  /**
   * The matching subscriptions, each once even if several of its patterns match. `data` is called only for filters, possibly
   * several times. Changes that are applied while this runs have no effect on the result.
   */
  async match(eventType: string, data: () => unknown): Promise<Match> {
    const version = this.#version;
    const ids = new Set(patternsOf(eventType).flatMap((pattern) => [...(this.#byPattern.get(pattern) ?? [])]));
    const candidates = [...ids].flatMap((id) => this.#active.get(id) ?? []);
    const subscriptions: MatchedSubscription[] = candidates.filter(({ filter }) => filter === undefined);
    let stepsLeft = MAX_EVENT_STEPS;
    let turnEndsAt = stepsLeft - STEPS_PER_TURN;
    for (const entry of candidates.filter(({ filter }) => filter !== undefined).sort(byId)) {
      if (stepsLeft <= 0) return { version, subscriptions, filterBudgetExhaustedAt: entry.id };
      if (stepsLeft < turnEndsAt) {
        await yieldEventLoop();
        turnEndsAt = stepsLeft - STEPS_PER_TURN;
      }
      const budget = { left: MAX_FILTER_STEPS };
      if (entry.filter?.(data(), budget) === true) subscriptions.push(entry);
      stepsLeft -= MAX_FILTER_STEPS - budget.left;
    }
    return { version, subscriptions, filterBudgetExhaustedAt: undefined };
  }

  #add(entry: Entry): void {
    this.#active.set(entry.id, entry);
    this.#weight += entry.weight;
    for (const pattern of entry.eventTypes) {
      const ids = this.#byPattern.get(pattern) ?? new Set();
      this.#byPattern.set(pattern, ids.add(entry.id));
    }
  }

  #remove(id: string): void {
    const entry = this.#active.get(id);
    if (entry === undefined) return;
    for (const pattern of entry.eventTypes) {
      const ids = this.#byPattern.get(pattern);
      ids?.delete(id);
      if (ids?.size === 0) this.#byPattern.delete(pattern);
    }
    this.#active.delete(id);
    this.#weight -= entry.weight;
  }
}

/** Compiling the filter takes up to 0.7 ms. Undefined for an inactive subscription. */
function createEntry({ id, version, eventTypes, isActive, filter }: ChangedSubscription): Entry | undefined {
  if (!isActive) return undefined;
  const hasFilter = filter !== null;
  const weight = 1 + (hasFilter ? Math.ceil(JSON.stringify(filter).length / JSON_BYTES_PER_WEIGHT) : 0);
  return { id, version, eventTypes, weight, filter: hasFilter ? compileFilter(filter) : undefined };
}

/** A fixed order, so that one id tells which filters were skipped. Postgres orders ids in the same way. */
function byId(a: Entry, b: Entry): number {
  return a.id < b.id ? -1 : 1;
}

/** A cache of the most recently used tenants' indexes, bounded by total weight. */
export class SubscriptionIndexes {
  readonly #cache: LRUCache<string, SubscriptionIndex>;

  constructor(maxWeight: number) {
    this.#cache = new LRUCache({ maxSize: maxWeight, sizeCalculation: (index) => index.weight + 1 });
  }

  /** The total weight of the cached indexes, plus one for each tenant. */
  get weight(): number {
    return this.#cache.calculatedSize;
  }

  /** Applies the changes since the last call, so that a subscription matches as soon as its mutation has returned. */
  async update(db: Queryable, tenants: ReadonlySet<string>): Promise<Map<string, SubscriptionIndex>> {
    const indexes = new Map(
      [...tenants].map((tenant) => [tenant, this.#cache.get(tenant) ?? new SubscriptionIndex()] as const),
    );
    const known = new Map([...indexes].map(([tenant, index]) => [tenant, index.version] as const));
    const changes = await changedSubscriptions(db, known);
    const entries: ReturnType<typeof createEntry>[] = [];
    for (const change of changes) {
      // There may be thousands of filters to compile.
      if (change.filter !== null) await yieldEventLoop();
      entries.push(createEntry(change));
    }
    // All in one turn: only the latest change of a subscription is read, so a part of the changes is no past state.
    for (const [n, change] of changes.entries()) indexes.get(change.tenant)?.apply(change, entries[n]);
    // The cache may reject an index that is too large; the caller uses it nevertheless.
    for (const [tenant, index] of indexes) this.#keep(tenant, index);
    return indexes;
  }

  #keep(tenant: string, index: SubscriptionIndex): void {
    // Setting the same object again would keep its old weight.
    this.#cache.delete(tenant);
    this.#cache.set(tenant, index);
  }
}

type ChangedSubscription = {
  readonly id: string;
  readonly tenant: string;
  readonly version: number;
  readonly eventTypes: readonly string[];
  /** False once it is inactive or deleted. */
  readonly isActive: boolean;
  /** Null: no filter. */
  readonly filter: unknown;
};

/** The subscriptions of each tenant that changed after the tenant's known version (0: not known), oldest change first. */
async function changedSubscriptions(db: Queryable, known: ReadonlyMap<string, number>): Promise<ChangedSubscription[]> {
  const { rows } = await db.query<Omit<ChangedSubscription, 'version'> & { version: string }>(
    `SELECT s.id, s.tenant, s.version, s.event_types AS "eventTypes", s.is_active AND s.deleted_at IS NULL AS "isActive",
       s.filter
     FROM unnest($1::text[], $2::bigint[]) AS known (tenant, version)
     JOIN webhook_subscriptions s ON s.tenant = known.tenant AND s.version > known.version
     ORDER BY s.version`,
    [[...known.keys()], [...known.values()]],
  );
  return rows.map((row) => ({ ...row, version: Number(row.version) }));
}
