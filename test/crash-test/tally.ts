import { type AcknowledgedEvent, type Wanted, wantedOf } from './traffic.ts';

/** Which of the deliveries that were promised have not arrived. */
export class Tally {
  readonly #missing = new Set<string>();
  /** Arrived before the publisher had heard that the event was acknowledged. */
  readonly #early = new Set<string>();
  #wanted = 0;
  #lastAt = 0;

  get wanted(): number {
    return this.#wanted;
  }

  /** When the last one arrived, in milliseconds since 1970. */
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
