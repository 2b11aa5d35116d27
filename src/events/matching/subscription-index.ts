import { LRUCache } from 'lru-cache';
import { yieldEventLoop } from '../../lib/event-loop.ts';
import type { Queryable } from '../../postgres/client.ts';
import { patternsOf } from '../event-type.ts';
import { type CompiledFilter, compileFilter, MAX_FILTER_STEPS } from './filter.ts';

export type MatchedSubscription = { readonly id: string; readonly version: number };

export type Match = {
  /** The tenant's version that the event was matched at. */
  readonly version: number;
  readonly subscriptions: readonly MatchedSubscription[];
  /** Filters of subscriptions from this id on were not looked at, because those before took too many steps. */
  readonly filterBudgetExhaustedAt: string | undefined;
};

type Entry = MatchedSubscription & {
  readonly eventTypes: readonly string[];
  /** Undefined if every event of these types is wanted. */
  readonly wants: CompiledFilter | undefined;
  readonly weight: number;
};

/**
 * For all the filters that one event is matched with, or a tenant with many of them could have everybody's events wait for
 * its own; the last one that is begun is still finished.
 */
const MAX_EVENT_STEPS = 1_000_000;
/** After so many, which take 2 ms at most, others may have their turn of the event loop. */
const STEPS_BETWEEN_TURNS = 10_000;

/** A subscription takes some 300 bytes, its compiled filter up to 90 times what its JSON has (measured). */
const JSON_BYTES_PER_WEIGHT = 4;

/** One tenant's active subscriptions by the event types they want, kept up to date by applying changes in order. */
export class SubscriptionIndex {
  readonly #active = new Map<string, Entry>();
  readonly #byPattern = new Map<string, Set<string>>();
  #version = 0;
  #weight = 0;

  /** The version up to which changes have been applied. */
  get version(): number {
    return this.#version;
  }

  /** What it takes to keep: one for each active subscription, and more for those with filters. */
  get weight(): number {
    return this.#weight;
  }

  /** What is known already is left alone: of two who read at the same time, the one who read less may apply it later. */
  apply(change: ChangedSubscription, entry = createEntry(change)): void {
    if (change.version <= this.#version) return;
    this.#remove(change.id);
    if (entry !== undefined) this.#add(entry);
    this.#version = change.version;
  }

  /**
   * The subscriptions that want an event of this type with this data, each once however many of its patterns match. The
   * data is asked for only if it matters, and then perhaps several times. Changes that are applied meanwhile do not count.
   */
  async match(eventType: string, data: () => unknown): Promise<Match> {
    const version = this.#version;
    const ids = new Set(patternsOf(eventType).flatMap((pattern) => [...(this.#byPattern.get(pattern) ?? [])]));
    const candidates = [...ids].flatMap((id) => this.#active.get(id) ?? []);
    const subscriptions: MatchedSubscription[] = candidates.filter(({ wants }) => wants === undefined);
    let stepsLeft = MAX_EVENT_STEPS;
    let turnEndsAt = stepsLeft - STEPS_BETWEEN_TURNS;
    for (const entry of candidates.filter(({ wants }) => wants !== undefined).sort(byId)) {
      if (stepsLeft <= 0) return { version, subscriptions, filterBudgetExhaustedAt: entry.id };
      if (stepsLeft < turnEndsAt) {
        await yieldEventLoop();
        turnEndsAt = stepsLeft - STEPS_BETWEEN_TURNS;
      }
      const budget = { left: MAX_FILTER_STEPS };
      if (entry.wants?.(data(), budget) === true) subscriptions.push(entry);
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

/** Takes up to 0.7 ms for the filter; undefined for a subscription that gets nothing. */
function createEntry({ id, version, eventTypes, isActive, filter }: ChangedSubscription): Entry | undefined {
  if (!isActive) return undefined;
  const hasFilter = filter !== null;
  const weight = 1 + (hasFilter ? Math.ceil(JSON.stringify(filter).length / JSON_BYTES_PER_WEIGHT) : 0);
  return { id, version, eventTypes, weight, wants: hasFilter ? compileFilter(filter) : undefined };
}

/** So that one id says which were skipped. Postgres orders them in the same way. */
function byId(a: Entry, b: Entry): number {
  return a.id < b.id ? -1 : 1;
}

/** The indexes of the tenants seen last, up to so much weight in all. */
export class SubscriptionIndexes {
  readonly #cache: LRUCache<string, SubscriptionIndex>;

  constructor(maxWeight: number) {
    this.#cache = new LRUCache({ maxSize: maxWeight, sizeCalculation: (index) => index.weight + 1 });
  }

  /** What is kept weighs so much, and one more for each tenant. */
  get weight(): number {
    return this.#cache.calculatedSize;
  }

  /** Reads what changed since the last time, so that a subscription counts from the moment its mutation has answered. */
  async update(db: Queryable, tenants: ReadonlySet<string>): Promise<Map<string, SubscriptionIndex>> {
    const indexes = new Map(
      [...tenants].map((tenant) => [tenant, this.#cache.get(tenant) ?? new SubscriptionIndex()] as const),
    );
    const known = new Map([...indexes].map(([tenant, index]) => [tenant, index.version] as const));
    const changes = await changedSubscriptions(db, known);
    const entries: ReturnType<typeof createEntry>[] = [];
    for (const change of changes) {
      // A tenant can have thousands of filters to compile.
      if (change.filter !== null) await yieldEventLoop();
      entries.push(createEntry(change));
    }
    // At once: of a subscription that changed twice only the last change is read, so a part would be no state that there was.
    for (const [n, change] of changes.entries()) indexes.get(change.tenant)?.apply(change, entries[n]);
    // The cache may decline to keep them; this batch goes by what it has read.
    for (const [tenant, index] of indexes) this.#keep(tenant, index);
    return indexes;
  }

  #keep(tenant: string, index: SubscriptionIndex): void {
    // The same object again would be left with the weight that it had.
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
  /** Null if every event of these types is wanted. */
  readonly filter: unknown;
};

/** The subscriptions of each tenant that changed after the version that is known of it (0: none), oldest change first. */
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
