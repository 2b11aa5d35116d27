import { LRUCache } from 'lru-cache';

/** A first message is believed for half a minute (first-deliveries.ts); what is older is checked against Postgres. */
const MAX_AGE_MS = 60_000;
const MAX_REMEMBERED = 10_000;

/** The deliveries that users have just cancelled: Postgres is asked about those even before a first attempt. */
export class Cancellations {
  readonly #ids = new LRUCache<string, true>({ max: MAX_REMEMBERED, ttl: MAX_AGE_MS });

  add(deliveryId: string): void {
    this.#ids.set(deliveryId, true);
  }

  has(deliveryId: string): boolean {
    return this.#ids.has(deliveryId);
  }
}
