import type { ChangedSubscription } from '../database/changed-subscriptions.ts';
import { patternsOf } from './event-type.ts';

export type MatchedSubscription = { readonly id: string; readonly version: number };

/** One tenant's active subscriptions by the event types they want, kept up to date by applying changes in order. */
export class SubscriptionIndex {
  readonly #active = new Map<string, ChangedSubscription>();
  readonly #byPattern = new Map<string, Set<string>>();
  #version = 0;

  /** The version up to which changes have been applied. */
  get version(): number {
    return this.#version;
  }

  /** How many active subscriptions there are. */
  get size(): number {
    return this.#active.size;
  }

  /** What is known already is left alone: of two who read at the same time, the one who read less may apply it later. */
  apply(change: ChangedSubscription): void {
    if (change.version <= this.#version) return;
    this.#remove(change.id);
    if (change.isActive) this.#add(change);
    this.#version = change.version;
  }

  /** The subscriptions that want this event type, each once however many of its patterns match. */
  match(eventType: string): MatchedSubscription[] {
    const ids = new Set(patternsOf(eventType).flatMap((pattern) => [...(this.#byPattern.get(pattern) ?? [])]));
    return [...ids].flatMap((id) => this.#active.get(id) ?? []);
  }

  #add(subscription: ChangedSubscription): void {
    this.#active.set(subscription.id, subscription);
    for (const pattern of subscription.eventTypes) {
      const ids = this.#byPattern.get(pattern) ?? new Set();
      this.#byPattern.set(pattern, ids.add(subscription.id));
    }
  }

  #remove(id: string): void {
    for (const pattern of this.#active.get(id)?.eventTypes ?? []) {
      const ids = this.#byPattern.get(pattern);
      ids?.delete(id);
      if (ids?.size === 0) this.#byPattern.delete(pattern);
    }
    this.#active.delete(id);
  }
}
