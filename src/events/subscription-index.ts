import type { ChangedSubscription } from '../database/changed-subscriptions.ts';
import { patternsOf } from './event-type.ts';
import { type CompiledFilter, compileFilter, MAX_FILTER_STEPS } from './payload-filter.ts';

export type MatchedSubscription = { readonly id: string; readonly version: number };

export type Match = {
  readonly subscriptions: readonly MatchedSubscription[];
  /** Filters of subscriptions from this id on were not looked at, because those before took too many steps. */
  readonly skippedFrom: string | undefined;
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
  apply(change: ChangedSubscription): void {
    if (change.version <= this.#version) return;
    this.#remove(change.id);
    if (change.isActive) this.#add(change);
    this.#version = change.version;
  }

  /**
   * The subscriptions that want an event of this type with this data, each once however many of its patterns match. The
   * data is asked for only if it matters, and then perhaps several times.
   */
  match(eventType: string, data: () => unknown): Match {
    const ids = new Set(patternsOf(eventType).flatMap((pattern) => [...(this.#byPattern.get(pattern) ?? [])]));
    const candidates = [...ids].flatMap((id) => this.#active.get(id) ?? []);
    const subscriptions: MatchedSubscription[] = candidates.filter(({ wants }) => wants === undefined);
    let stepsLeft = MAX_EVENT_STEPS;
    for (const entry of candidates.filter(({ wants }) => wants !== undefined).sort(byId)) {
      if (stepsLeft <= 0) return { subscriptions, skippedFrom: entry.id };
      const budget = { left: MAX_FILTER_STEPS };
      if (entry.wants?.(data(), budget) === true) subscriptions.push(entry);
      stepsLeft -= MAX_FILTER_STEPS - budget.left;
    }
    return { subscriptions, skippedFrom: undefined };
  }

  #add({ id, version, eventTypes, filter }: ChangedSubscription): void {
    const hasFilter = filter !== null;
    const weight = 1 + (hasFilter ? Math.ceil(JSON.stringify(filter).length / JSON_BYTES_PER_WEIGHT) : 0);
    this.#active.set(id, { id, version, eventTypes, weight, wants: hasFilter ? compileFilter(filter) : undefined });
    this.#weight += weight;
    for (const pattern of eventTypes) {
      const ids = this.#byPattern.get(pattern) ?? new Set();
      this.#byPattern.set(pattern, ids.add(id));
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

/** So that one id says which were skipped. Postgres orders them in the same way. */
function byId(a: Entry, b: Entry): number {
  return a.id < b.id ? -1 : 1;
}
