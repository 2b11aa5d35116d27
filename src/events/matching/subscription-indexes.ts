import { LRUCache } from 'lru-cache';
import { changedSubscriptions } from './changed-subscriptions.ts';
import type { Queryable } from '../../postgres/transaction.ts';
import { yieldEventLoop } from '../../lib/event-loop.ts';
import { createEntry, SubscriptionIndex } from './subscription-index.ts';

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
