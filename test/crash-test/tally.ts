import { type AcknowledgedEvent, type ExpectedDelivery, expectedDeliveriesOf } from './traffic.ts';

/** Tracks the deliveries of acknowledged events that have not arrived. */
export class Tally {
  readonly #missing = new Set<string>();
  /** Deliveries that arrived before the acknowledgement of their event reached the publisher. */
  readonly #early = new Set<string>();
  #expected = 0;
  #lastAt = 0;

  get expected(): number {
    return this.#expected;
  }

  /** Arrival time of the last missing delivery, in milliseconds since 1970. */
  get lastAt(): number {
    return this.#lastAt;
  }

  get missing(): number {
    return this.#missing.size;
  }

  acknowledge(event: AcknowledgedEvent): void {
    for (const key of expectedDeliveriesOf(event).map(keyOf)) {
      this.#expected += 1;
      if (!this.#early.delete(key)) this.#missing.add(key);
    }
  }

  succeed(expected: ExpectedDelivery): void {
    if (this.#missing.delete(keyOf(expected))) this.#lastAt = Date.now();
    else this.#early.add(keyOf(expected));
  }
}

function keyOf({ eventId, endpoint }: ExpectedDelivery): string {
  return `${endpoint} ${eventId}`;
}
