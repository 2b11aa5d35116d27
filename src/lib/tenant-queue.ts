import { LRUCache } from 'lru-cache';

/** An event or a delivery in the queue: its tenant, its size, and its identity. */
export type Queueable = {
  readonly key: number;
  readonly tenant: string;
  /** Items of a tenant take turns by lane: an event's type, a delivery's subscription. */
  readonly lane: string;
  readonly bytes: number;
};

/** Bounds of one batch. One event may exceed the last two. */
type BatchLimits = { readonly events: number; readonly deliveries: number; readonly bytes: number };

type Line<T extends Queueable> = {
  readonly waiting: Lanes<T>;
  /** Cost at which the tenant's next item starts, on a scale that all tenants share: the tenant with the least comes first. */
  start: number;
};

type TenantQueueOptions = {
  /** Full beyond either of these. */
  readonly maxEvents: number;
  readonly maxBytes: number;
};

/** Parsing, checking and writing so many bytes takes as long as one delivery. */
const BYTES_PER_DELIVERY = 8 * 1024;
/** Taken items of an array before it is shortened. */
const MIN_COMPACTED = 256;
/** Tenants whose deliveries for each event, and whose next start, are remembered. */
const MAX_REMEMBERED = 10_000;
const NONE: ReadonlySet<string> = new Set();

/** Items of one tenant: first in, first out within a lane, and the lanes in turn. */
class Lanes<T extends Queueable> {
  /** The next lane first. `taken`: items of the array that have been taken from it. */
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

  /** Removes the first item; its lane is the last one then. */
  removeFirst(): void {
    const [first] = this.#lanes;
    if (first === undefined) return;
    const [name, lane] = first;
    this.#lanes.delete(name);
    lane.taken += 1;
    if (lane.taken === lane.items.length) return;
    // Removing the items one by one would copy the rest of a long array each time.
    if (lane.taken >= MIN_COMPACTED && lane.taken * 2 >= lane.items.length) {
      lane.items.splice(0, lane.taken);
      lane.taken = 0;
    }
    this.#lanes.set(name, lane);
  }

  /** Puts an item before all others. */
  putBack(item: T): void {
    const { items = [], taken = 0 } = this.#lanes.get(item.lane) ?? {};
    const others = [...this.#lanes].filter(([name]) => name !== item.lane);
    this.#lanes.clear();
    this.#lanes.set(item.lane, { items: [item, ...items.slice(taken)], taken: 0 });
    for (const [name, lane] of others) this.#lanes.set(name, lane);
  }

  values(): T[] {
    return [...this.#lanes.values()].flatMap(({ items, taken }) => items.slice(taken));
  }
}

/**
 * Messages that were taken from a stream, by tenant: events to be dispatched, deliveries to be attempted. Tenants
 * take turns by start-time fair queueing, weighed by deliveries and bytes, so that the event of a quiet tenant overtakes a
 * burst of another; so does, by turns of the lanes, an event of another type of the same tenant. How many deliveries an
 * event makes is not known before it is matched: the last batch of its tenant says.
 */
export class TenantQueue<T extends Queueable> {
  readonly #options: TenantQueueOptions;
  readonly #lines = new Map<string, Line<T>>();
  readonly #keys = new Set<number>();
  readonly #deliveriesPerEvent = new LRUCache<string, number>({ max: MAX_REMEMBERED });
  /** The start of the last item taken. A tenant without items starts there, so that having been quiet earns no advantage, */
  #now = 0;
  /** but not before the end of its own last item, so that queueing one item at a time earns none either. */
  readonly #ends = new LRUCache<string, number>({ max: MAX_REMEMBERED });
  /** The cost of each item when it was taken: that of an item that is put back may be known better by then. */
  readonly #costs = new WeakMap<T, number>();
  #bytes = 0;

  constructor(options: TenantQueueOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#keys.size;
  }

  get isFull(): boolean {
    return this.#keys.size >= this.#options.maxEvents || this.#bytes >= this.#options.maxBytes;
  }

  /** False if it is there already: a redelivered event. */
  add(item: T): boolean {
    if (this.#keys.has(item.key)) return false;
    this.#line(item.tenant).waiting.add(item);
    this.#count(item);
    return true;
  }

  /** The next ones, in turns, without those of some tenants. */
  take(limits: BatchLimits, except: ReadonlySet<string> = NONE): T[] {
    const batch: T[] = [];
    let [deliveries, bytes] = [0, 0];
    while (batch.length < limits.events) {
      const line = this.#next(except);
      const item = line?.waiting.first();
      if (line === undefined || item === undefined) break;
      const expected = this.#expected(item);
      const isTooMuch = deliveries + expected > limits.deliveries || bytes + item.bytes > limits.bytes;
      if (isTooMuch && batch.length > 0) break;
      [deliveries, bytes] = [deliveries + expected, bytes + item.bytes];
      line.waiting.removeFirst();
      const cost = this.#cost(item);
      this.#costs.set(item, cost);
      this.#now = line.start;
      line.start += cost;
      this.#keys.delete(item.key);
      this.#bytes -= item.bytes;
      batch.push(item);
    }
    for (const { tenant } of batch) {
      const line = this.#lines.get(tenant);
      if (line?.waiting.isEmpty !== true) continue;
      this.#lines.delete(tenant);
      this.#ends.set(tenant, line.start);
    }
    return batch;
  }

  /** Those of a batch that did not fit into it go before the others of their tenant. */
  putBack(items: readonly T[]): void {
    for (const item of items.toReversed()) {
      const line = this.#line(item.tenant);
      line.waiting.putBack(item);
      line.start -= this.#costs.get(item) ?? 0;
      this.#count(item);
    }
  }

  /** How many deliveries these will make, as far as is known. */
  expectedDeliveries(items: readonly T[]): number {
    return items.reduce((sum, item) => sum + this.#expected(item), 0);
  }

  /** How many deliveries an event of this tenant made. */
  learn(tenant: string, deliveries: number): void {
    this.#deliveriesPerEvent.set(tenant, deliveries);
  }

  /** All items, in no order. */
  values(): T[] {
    return [...this.#lines.values()].flatMap(({ waiting }) => waiting.values());
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

  #next(except: ReadonlySet<string>): Line<T> | undefined {
    let least: Line<T> | undefined;
    for (const [tenant, line] of this.#lines) {
      if (!line.waiting.isEmpty && !except.has(tenant) && (least === undefined || line.start < least.start))
        least = line;
    }
    return least;
  }

  #line(tenant: string): Line<T> {
    const known = this.#lines.get(tenant);
    if (known !== undefined) return known;
    const line = { waiting: new Lanes<T>(), start: Math.max(this.#now, this.#ends.get(tenant) ?? 0) };
    this.#lines.set(tenant, line);
    return line;
  }
}
