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
  /** Filter steps that were taken. */
  readonly steps: number;
};

type Entry = MatchedSubscription & {
  readonly eventTypes: readonly string[];
  /** Undefined: no filter. */
  readonly filter: CompiledFilter | undefined;
  readonly weight: number;
};

/**
 * Maximum filter steps for one event, so that a tenant with many filters does not delay other tenants' events. The filter
 * during which the limit is reached is still evaluated completely.
 */
const MAX_EVENT_STEPS = 1_000_000;
/** Filter steps in one turn of the event loop. They take at most 2 ms. */
const STEPS_PER_TURN = 10_000;

/** Bytes of a unit of weight: those of a subscription with one event type. */
const BYTES_PER_WEIGHT = 300;
/** Bytes of an event type in an index, besides its characters (measured). */
const BYTES_PER_TYPE = 220;
/** Bytes of a filter's JSON for a unit of weight. A compiled filter takes up to 90 times its JSON (measured). */
const JSON_BYTES_PER_WEIGHT = 4;
/** Maximum weight of a process's cached indexes. */
const MAX_CACHED_WEIGHT = 1_000_000;
/**
 * Maximum bytes of JSON of the event types and filters of a tenant's subscriptions together. A filter has the greatest weight
 * for its JSON, so the index of a tenant at this limit has about half of MAX_CACHED_WEIGHT: it is kept, and not read and
 * compiled again for every batch of events.
 */
export const MAX_TENANT_JSON_BYTES = 2 * 1_024 ** 2;

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

  /** The weight in the cache: at least one for each active subscription, and more for its event types and its filter. */
  get weight(): number {
    return this.#weight;
  }

  /** Ignores changes that are already applied, because of two concurrent reads the older one may be applied last. */
  apply(change: ChangedSubscription, entry = createEntry(change)): void {
    if (change.version <= this.#version) return;
    this.#remove(change.id);
    if (entry !== undefined) this.#add(entry);
    this.#version = change.version;
  }

  /** Call this when all changes up to this version of the tenant have been applied. */
  completeTo(version: number): void {
    this.#version = Math.max(this.#version, version);
  }

  /**
   * Returns the matching subscriptions, each once even if several of its patterns match. Calls `data` only for filters,
   * possibly several times. Changes that are applied while this runs have no effect on the result.
   */
  async match(eventType: string, data: () => unknown): Promise<Match> {
    const version = this.#version;
    const ids = new Set(patternsOf(eventType).flatMap((pattern) => [...(this.#byPattern.get(pattern) ?? [])]));
    const candidates = [...ids].flatMap((id) => this.#active.get(id) ?? []);
    const subscriptions: MatchedSubscription[] = candidates.filter(({ filter }) => filter === undefined);
    let stepsLeft = MAX_EVENT_STEPS;
    let turnEndsAt = stepsLeft - STEPS_PER_TURN;
    let filterBudgetExhaustedAt: string | undefined;
    for (const entry of candidates.filter(({ filter }) => filter !== undefined).sort(byId)) {
      if (stepsLeft <= 0) {
        filterBudgetExhaustedAt = entry.id;
        break;
      }
      if (stepsLeft < turnEndsAt) {
        await yieldEventLoop();
        turnEndsAt = stepsLeft - STEPS_PER_TURN;
      }
      const budget = { left: MAX_FILTER_STEPS };
      if (entry.filter?.(data(), budget) === true) subscriptions.push(entry);
      stepsLeft -= MAX_FILTER_STEPS - budget.left;
    }
    return { version, subscriptions, filterBudgetExhaustedAt, steps: MAX_EVENT_STEPS - stepsLeft };
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
  const typeBytes = eventTypes.reduce((sum, { length }) => sum + BYTES_PER_TYPE + length, 0);
  const filterWeight = hasFilter ? Math.ceil(JSON.stringify(filter).length / JSON_BYTES_PER_WEIGHT) : 0;
  const weight = Math.ceil(typeBytes / BYTES_PER_WEIGHT) + filterWeight;
  return { id, version, eventTypes, weight, filter: hasFilter ? compileFilter(filter) : undefined };
}

/** A fixed order, so that one id identifies all skipped filters. Postgres orders ids in the same way. */
function byId(a: Entry, b: Entry): number {
  return a.id < b.id ? -1 : 1;
}

/** A cache of the most recently used tenants' indexes, bounded by total weight. */
export class SubscriptionIndexes {
  readonly #cache: LRUCache<string, SubscriptionIndex>;

  constructor(maxWeight = MAX_CACHED_WEIGHT) {
    this.#cache = new LRUCache({ maxSize: maxWeight, sizeCalculation: (index) => index.weight + 1 });
  }

  /** The total weight of the cached indexes, plus one for each tenant. */
  get weight(): number {
    return this.#cache.calculatedSize;
  }

  /**
   * Returns the indexes of these tenants. Cached indexes may be outdated (insertBatch detects that); the others are read
   * from Postgres.
   */
  async get(db: Queryable, tenants: ReadonlySet<string>): Promise<ReadonlyMap<string, SubscriptionIndex>> {
    const missing = new Set([...tenants].filter((tenant) => !this.#cache.has(tenant)));
    const read = missing.size > 0 ? await this.update(db, missing) : new Map<string, SubscriptionIndex>();
    return new Map(
      [...tenants].flatMap((tenant) => {
        const index = read.get(tenant) ?? this.#cache.get(tenant);
        return index === undefined ? [] : [[tenant, index] as const];
      }),
    );
  }

  /** Applies the changes since the last call, so that a subscription matches as soon as its mutation has returned. */
  async update(db: Queryable, tenants: ReadonlySet<string>): Promise<Map<string, SubscriptionIndex>> {
    const indexes = new Map(
      [...tenants].map((tenant) => [tenant, this.#cache.get(tenant) ?? new SubscriptionIndex()] as const),
    );
    const known = new Map([...indexes].map(([tenant, index]) => [tenant, index.version] as const));
    const { changes, versions, complete } = await changedSubscriptions(db, known);
    for (const tenant of complete) indexes.set(tenant, new SubscriptionIndex());
    const entries: ReturnType<typeof createEntry>[] = [];
    for (const change of changes) {
      // Yields, because there may be thousands of filters to compile.
      if (change.filter !== null) await yieldEventLoop();
      entries.push(createEntry(change));
    }
    // In one turn of the event loop: only the latest change of each subscription is read, so a part of the changes is not a
    // state that the tenant ever had.
    for (const [n, change] of changes.entries()) indexes.get(change.tenant)?.apply(change, entries[n]);
    for (const [tenant, version] of versions) indexes.get(tenant)?.completeTo(version);
    // The cache may reject an index that is too large. The caller can use it in any case.
    for (const [tenant, index] of indexes) this.#keep(tenant, index);
    return indexes;
  }

  #keep(tenant: string, index: SubscriptionIndex): void {
    // Without the deletion, setting the same object again would keep its old weight.
    this.#cache.delete(tenant);
    this.#cache.set(tenant, index);
  }
}

type ChangedSubscription = {
  readonly id: string;
  readonly tenant: string;
  readonly version: number;
  readonly eventTypes: readonly string[];
  /** False if the subscription is inactive or deleted. */
  readonly isActive: boolean;
  /** Null: no filter, or an inactive subscription. */
  readonly filter: unknown;
};

type Changes = {
  /** The oldest change first. */
  readonly changes: readonly ChangedSubscription[];
  /** The current versions of the tenants that have changes. */
  readonly versions: ReadonlyMap<string, number>;
  /** The tenants whose changes are all their active subscriptions, for an empty index. */
  readonly complete: ReadonlySet<string>;
};

/**
 * Maximum versions between an index and its tenant for reading only the changes. Bounds the subscriptions that were deleted
 * in between: a tenant may create and delete any number of them.
 */
const MAX_VERSIONS_BEHIND = 10_000;

/** The subscriptions of each tenant that changed after the tenant's known version (0: not known). */
async function changedSubscriptions(db: Queryable, known: ReadonlyMap<string, number>): Promise<Changes> {
  const { rows } = await db.query<ChangedRow>(CHANGED_SUBSCRIPTIONS, [
    [...known.keys()],
    [...known.values()],
    MAX_VERSIONS_BEHIND,
  ]);
  return {
    changes: rows
      .flatMap(({ id, ...change }) => (id === null ? [] : [{ id, ...change }]))
      .sort((a, b) => a.version - b.version),
    versions: new Map(rows.map(({ tenant, tenantVersion }) => [tenant, tenantVersion])),
    complete: new Set(rows.flatMap(({ tenant, isComplete }) => (isComplete ? [tenant] : []))),
  };
}

// A part for each of two partial indexes, so that an empty index reads no deleted subscription. Subscriptions to forget come
// without event types and filter.
const CHANGED_SUBSCRIPTIONS = `
  SELECT t.name AS tenant, t.version::float8 AS "tenantVersion", since.version = 0 AS "isComplete", s.*
  FROM unnest($1::text[], $2::bigint[]) AS known (tenant, version)
  JOIN tenants t ON t.name = known.tenant AND t.version > known.version
  CROSS JOIN LATERAL (
    SELECT CASE WHEN t.version - known.version <= $3::integer THEN known.version ELSE 0 END AS version
  ) AS since
  LEFT JOIN LATERAL (
    SELECT id, version::float8 AS version, is_active AS "isActive",
      CASE WHEN is_active THEN event_types ELSE '{}' END AS "eventTypes", CASE WHEN is_active THEN filter END AS filter
    FROM webhook_subscriptions
    WHERE tenant = known.tenant AND version > since.version AND deleted_at IS NULL
    UNION ALL
    SELECT id, version::float8, false, '{}', NULL
    FROM webhook_subscriptions
    WHERE since.version > 0 AND tenant = known.tenant AND version > since.version AND deleted_at IS NOT NULL
  ) AS s ON true`;

/** `id` is null if the tenant has a new version, but no changed subscription. */
type ChangedRow = Omit<ChangedSubscription, 'id'> & {
  readonly id: string | null;
  readonly tenantVersion: number;
  readonly isComplete: boolean;
};
