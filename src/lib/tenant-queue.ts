import { LRUCache } from 'lru-cache';

/** An event or a delivery in the queue: its tenant, its size, and its identity. */
export type Queueable = { readonly key: number; readonly tenant: string; readonly bytes: number };

/** Bounds of one batch. One event may exceed the last two. */
type BatchLimits = { readonly events: number; readonly deliveries: number; readonly bytes: number };

type Line<T> = {
  readonly waiting: T[];
  /** Service received so far, on a scale that all tenants share: the tenant with the least comes first. */
  served: number;
};

type TenantQueueOptions = {
  /** Full beyond either of these. */
  readonly maxEvents: number;
  readonly maxBytes: number;
};

/** Parsing, checking and writing so many bytes takes as long as one delivery. */
const BYTES_PER_DELIVERY = 8 * 1024;
/** Tenants whose deliveries for each event are remembered. */
const MAX_REMEMBERED = 10_000;

/**
 * Messages that were taken from a stream, by tenant: events to be dispatched, deliveries to be attempted. Tenants
 * take turns, weighed by deliveries and bytes, so that the event of a quiet tenant overtakes a burst of another. How many
 * deliveries an event makes is not known before it is matched: the last batch of its tenant says.
 */
export class TenantQueue<T extends Queueable> {
  readonly #options: TenantQueueOptions;
  readonly #lines = new Map<string, Line<T>>();
  readonly #keys = new Set<number>();
  readonly #deliveriesPerEvent = new LRUCache<string, number>({ max: MAX_REMEMBERED });
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
    this.#line(item.tenant).waiting.push(item);
    this.#count(item);
    return true;
  }

  /** The next ones, in turns. */
  take(limits: BatchLimits): T[] {
    const batch: T[] = [];
    let [deliveries, bytes] = [0, 0];
    while (batch.length < limits.events) {
      const line = this.#next();
      const [item] = line?.waiting ?? [];
      if (line === undefined || item === undefined) break;
      const expected = this.#expected(item);
      const isTooMuch = deliveries + expected > limits.deliveries || bytes + item.bytes > limits.bytes;
      if (isTooMuch && batch.length > 0) break;
      [deliveries, bytes] = [deliveries + expected, bytes + item.bytes];
      line.waiting.shift();
      line.served += this.#cost(item);
      this.#keys.delete(item.key);
      this.#bytes -= item.bytes;
      batch.push(item);
    }
    for (const { tenant } of batch) {
      if (this.#lines.get(tenant)?.waiting.length === 0) this.#lines.delete(tenant);
    }
    return batch;
  }

  /** Those of a batch that did not fit into it go before the others of their tenant. */
  putBack(items: readonly T[]): void {
    for (const item of items.toReversed()) {
      const line = this.#line(item.tenant);
      line.waiting.unshift(item);
      line.served -= this.#cost(item);
      this.#count(item);
    }
  }

  /** How many deliveries an event of this tenant made. */
  learn(tenant: string, deliveries: number): void {
    this.#deliveriesPerEvent.set(tenant, deliveries);
  }

  /** All items, in no order. */
  values(): T[] {
    return [...this.#lines.values()].flatMap(({ waiting }) => waiting);
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

  #next(): Line<T> | undefined {
    let least: Line<T> | undefined;
    for (const line of this.#lines.values()) {
      if (line.waiting.length > 0 && (least === undefined || line.served < least.served)) least = line;
    }
    return least;
  }

  /** A new tenant begins where the others are: having been quiet earns no advantage. */
  #line(tenant: string): Line<T> {
    const line = this.#lines.get(tenant) ?? { waiting: [], served: this.#next()?.served ?? 0 };
    this.#lines.set(tenant, line);
    return line;
  }
}
