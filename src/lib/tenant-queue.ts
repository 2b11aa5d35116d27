import { LRUCache } from 'lru-cache';
import TinyQueue from 'tinyqueue';
import { atMost, groupBy } from './collections.ts';

/** An event or a delivery in the queue. */
export type Queueable = {
  readonly key: number;
  readonly tenant: string;
  /** Fairness key within a tenant: an event's type, a delivery's subscription. Lanes are served round-robin. */
  readonly lane: string;
  readonly bytes: number;
};

/** Limits of one batch. A single item may exceed `deliveries` and `bytes`. */
type BatchLimits = { readonly items: number; readonly deliveries: number; readonly bytes: number };

/** A tenant with queued items. */
type QueuedTenant<T extends Queueable> = {
  readonly name: string;
  readonly waiting: Lanes<T>;
  /** Virtual start time of the tenant's next item, in units of cost. The tenant with the smallest one is served first. */
  start: number;
};

/** A turn of a tenant. It is void if the tenant has another start now, or no items. */
type Turn<T extends Queueable> = { readonly tenant: QueuedTenant<T>; readonly start: number; readonly number: number };

type TenantQueueOptions = {
  /** The queue is full when it reaches either limit. */
  readonly maxItems: number;
  readonly maxBytes: number;
};

/** Bytes whose parsing, checking and writing takes as long as one delivery. */
const BYTES_PER_DELIVERY = 8 * 1024;
/** Minimum number of taken items before an array is shortened. */
const MIN_COMPACTED = 256;
/** Maximum number of tenants for which the deliveries per event and the end of the last item are remembered. */
const MAX_REMEMBERED = 10_000;
const NONE: ReadonlySet<string> = new Set();

/** Items of one tenant: first in, first out within a lane; the lanes are served round-robin. */
class Lanes<T extends Queueable> {
  /**
   * The lane to be served next is the first. `taken`: items at the start of the array that have been removed from the
   * queue.
   */
  readonly #lanes = new Map<string, { readonly items: T[]; taken: number }>();

  get isEmpty(): boolean {
    return this.#lanes.size === 0;
  }

  first(): T | undefined {
    const [lane] = this.#lanes.values();
    return lane?.items[lane.taken];
  }

  add(item: T): void {
    const lane = this.#lanes.get(item.lane);
    if (lane === undefined) this.#lanes.set(item.lane, { items: [item], taken: 0 });
    else lane.items.push(item);
  }

  /** Removes the first item and moves its lane to the end. */
  removeFirst(): void {
    const [first] = this.#lanes;
    if (first === undefined) return;
    const [name, lane] = first;
    this.#lanes.delete(name);
    lane.taken += 1;
    if (lane.taken === lane.items.length) return;
    // Removing the items one by one would copy the rest of the array each time.
    if (lane.taken >= MIN_COMPACTED && lane.taken * 2 >= lane.items.length) {
      lane.items.splice(0, lane.taken);
      lane.taken = 0;
    }
    this.#lanes.set(name, lane);
  }

  /** Inserts these items before all others. */
  putBack(items: readonly T[]): void {
    const others = [...this.#lanes];
    this.#lanes.clear();
    for (const [name, ofLane] of groupBy(items, ({ lane }) => lane)) this.#lanes.set(name, { items: ofLane, taken: 0 });
    for (const [name, lane] of others) {
      const before = this.#lanes.get(name)?.items;
      // One copy for all items of a lane, which may be long.
      const joined = before === undefined ? lane : { items: [...before, ...lane.items.slice(lane.taken)], taken: 0 };
      this.#lanes.set(name, joined);
    }
  }

  values(): T[] {
    return [...this.#lanes.values()].flatMap(({ items, taken }) => items.slice(taken));
  }
}

/**
 * Messages that were taken from a stream, by tenant: events to dispatch, deliveries to attempt. Tenants are served by
 * start-time fair queueing, weighted by deliveries, filter steps and bytes, so that an event of a quiet tenant overtakes a
 * burst of another tenant. Within a tenant, lanes are served round-robin, so that an event overtakes a burst of another
 * event type. The deliveries and filter steps of an event are unknown before it is matched; the estimate is their mean in
 * the last batch of its tenant.
 */
export class TenantQueue<T extends Queueable> {
  readonly #options: TenantQueueOptions;
  readonly #tenants = new Map<string, QueuedTenant<T>>();
  /** The earliest first; of those with the same start, the one that was added first. */
  readonly #turns = new TinyQueue<Turn<T>>([], (a, b) => a.start - b.start || a.number - b.number);
  #turnCount = 0;
  readonly #keys = new Set<number>();
  readonly #deliveriesPerEvent = new LRUCache<string, number>(atMost(MAX_REMEMBERED));
  /**
   * Virtual time: the start of the item that was taken last. A tenant without items starts here, so that an idle period
   * gives no advantage.
   */
  #now = 0;
  /**
   * The end of each tenant's last item. The tenant starts there if that is later than `#now`, so that queueing one item
   * at a time gives no advantage.
   */
  readonly #ends = new LRUCache<string, number>(atMost(MAX_REMEMBERED));
  /** The cost with which each item was taken: the estimate may have changed when an item is put back. */
  readonly #costs = new WeakMap<T, number>();
  #bytes = 0;

  constructor(options: TenantQueueOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#keys.size;
  }

  get isFull(): boolean {
    return this.#keys.size >= this.#options.maxItems || this.#bytes >= this.#options.maxBytes;
  }

  /** Returns false if the item is already in the queue: a redelivered message. */
  add(item: T): boolean {
    if (this.#keys.has(item.key)) return false;
    this.#tenant(item.tenant).waiting.add(item);
    this.#count(item);
    return true;
  }

  /** Removes and returns the next items, in fair order, without those of the tenants in `except`. */
  take(limits: BatchLimits, except: ReadonlySet<string> = NONE): T[] {
    const batch: T[] = [];
    const skipped = new Set<QueuedTenant<T>>();
    let [deliveries, bytes] = [0, 0];
    while (batch.length < limits.items) {
      const tenant = this.#next();
      const item = tenant?.waiting.first();
      if (tenant === undefined || item === undefined) break;
      if (except.has(tenant.name)) {
        skipped.add(tenant);
        continue;
      }
      const expected = this.#expected(item);
      const isTooMuch = deliveries + expected > limits.deliveries || bytes + item.bytes > limits.bytes;
      if (isTooMuch && batch.length > 0) {
        skipped.add(tenant);
        break;
      }
      [deliveries, bytes] = [deliveries + expected, bytes + item.bytes];
      this.#remove(item, tenant);
      batch.push(item);
    }
    for (const tenant of skipped) this.#addTurn(tenant);
    return batch;
  }

  /** Removes the first item of a tenant, whose turn it was. */
  #remove(item: T, tenant: QueuedTenant<T>): void {
    const cost = this.#cost(item);
    this.#costs.set(item, cost);
    this.#now = tenant.start;
    tenant.start += cost;
    tenant.waiting.removeFirst();
    this.#keys.delete(item.key);
    this.#bytes -= item.bytes;
    if (!tenant.waiting.isEmpty) this.#addTurn(tenant);
    else {
      this.#tenants.delete(tenant.name);
      this.#ends.set(tenant.name, tenant.start);
    }
  }

  /** Returns items of a batch that did not fit into it. They precede the other items of their tenant. */
  putBack(items: readonly T[]): void {
    for (const [name, ofTenant] of groupBy(items, ({ tenant }) => tenant)) {
      const tenant = this.#tenant(name);
      tenant.waiting.putBack(ofTenant);
      for (const item of ofTenant) {
        tenant.start -= this.#costs.get(item) ?? 0;
        this.#count(item);
      }
      this.#addTurn(tenant);
    }
  }

  /** The estimated cost of these items, in deliveries. */
  expectedDeliveries(items: readonly T[]): number {
    return items.reduce((sum, item) => sum + this.#expected(item), 0);
  }

  /**
   * Records the cost of an event of this tenant, in deliveries. The estimate falls by half at most: after one event that is
   * cheaper than the others, a whole batch of them would be taken, of which few could be written.
   */
  recordCost(tenant: string, deliveries: number): void {
    const estimate = this.#deliveriesPerEvent.get(tenant) ?? 0;
    this.#deliveriesPerEvent.set(tenant, Math.max(deliveries, Math.floor(estimate / 2)));
  }

  /** All items, in unspecified order. */
  values(): T[] {
    return [...this.#tenants.values()].flatMap(({ waiting }) => waiting.values());
  }

  #expected({ tenant }: T): number {
    return this.#deliveriesPerEvent.get(tenant) ?? 1;
  }

  #cost(item: T): number {
    return 1 + this.#expected(item) + item.bytes / BYTES_PER_DELIVERY;
  }

  #count(item: T): void {
    this.#keys.add(item.key);
    this.#bytes += item.bytes;
  }

  /** The tenant whose turn is next, which the caller uses or adds again. */
  #next(): QueuedTenant<T> | undefined {
    for (let turn = this.#turns.pop(); turn !== undefined; turn = this.#turns.pop()) {
      const { tenant, start } = turn;
      if (tenant.start === start && !tenant.waiting.isEmpty) return tenant;
    }
    return undefined;
  }

  #addTurn(tenant: QueuedTenant<T>): void {
    this.#turnCount += 1;
    this.#turns.push({ tenant, start: tenant.start, number: this.#turnCount });
  }

  #tenant(name: string): QueuedTenant<T> {
    const known = this.#tenants.get(name);
    if (known !== undefined) return known;
    const tenant = { name, waiting: new Lanes<T>(), start: Math.max(this.#now, this.#ends.get(name) ?? 0) };
    this.#tenants.set(name, tenant);
    this.#addTurn(tenant);
    return tenant;
  }
}
