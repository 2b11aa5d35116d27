import { type AcknowledgedEvent, type Wanted, wantedOf } from './traffic.ts';

/** Tracks the deliveries of acknowledged events that have not arrived. */
export class Tally {
  readonly #missing = new Set<string>();
  /** Deliveries that arrived before the acknowledgement of their event reached the publisher. */
  readonly #early = new Set<string>();
  #wanted = 0;
  #lastAt = 0;

  get wanted(): number {
    return this.#wanted;
  }

  /** Arrival time of the last missing delivery, in milliseconds since 1970. */
  get lastAt(): number {
    return this.#lastAt;
  }

  get missing(): number {
    return this.#missing.size;
  }

  acknowledge(event: AcknowledgedEvent): void {
    for (const key of wantedOf(event).map(keyOf)) {
      this.#wanted += 1;
      if (!this.#early.delete(key)) this.#missing.add(key);
    }
  }

  succeed(wanted: Wanted): void {
    if (this.#missing.delete(keyOf(wanted))) this.#lastAt = Date.now();
    else this.#early.add(keyOf(wanted));
  }
}

function keyOf({ eventId, endpoint }: Wanted): string {
  return `${endpoint} ${eventId}`;
}
