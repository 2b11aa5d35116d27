import type { ChangedSubscription } from './changed-subscriptions.ts';
import { yieldEventLoop } from '../../lib/event-loop.ts';
import { patternsOf } from '../event-type.ts';
import { type CompiledFilter, compileFilter, MAX_FILTER_STEPS } from './payload-filter.ts';

export type MatchedSubscription = { readonly id: string; readonly version: number };

export type Match = {
  /** The tenant's version that the event was matched at. */
  readonly version: number;
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
      if (stepsLeft <= 0) return { version, subscriptions, skippedFrom: entry.id };
      if (stepsLeft < turnEndsAt) {
        await yieldEventLoop();
        turnEndsAt = stepsLeft - STEPS_BETWEEN_TURNS;
      }
      const budget = { left: MAX_FILTER_STEPS };
      if (entry.wants?.(data(), budget) === true) subscriptions.push(entry);
      stepsLeft -= MAX_FILTER_STEPS - budget.left;
    }
    return { version, subscriptions, skippedFrom: undefined };
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
export function createEntry({ id, version, eventTypes, isActive, filter }: ChangedSubscription): Entry | undefined {
  if (!isActive) return undefined;
  const hasFilter = filter !== null;
  const weight = 1 + (hasFilter ? Math.ceil(JSON.stringify(filter).length / JSON_BYTES_PER_WEIGHT) : 0);
  return { id, version, eventTypes, weight, wants: hasFilter ? compileFilter(filter) : undefined };
}

/** So that one id says which were skipped. Postgres orders them in the same way. */
function byId(a: Entry, b: Entry): number {
  return a.id < b.id ? -1 : 1;
}
