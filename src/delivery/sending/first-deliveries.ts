import type { PublishedDelivery } from '../queue/delivery-message.ts';
import type { StreamMessage } from '../../nats/stream-message.ts';

/**
 * A message is believed for so many milliseconds from when it was published, by the clock that all processes share. That is longer than
 * deliveries wait in a sender that is behind, and soon enough for one whose publisher got no answer (see HELD_BACK_MS).
 */
export const BELIEVED_MS = 10_000;

/**
 * Whether a message of DELIVERIES that says it was never delivered can be believed: only if it was stored since we have
 * been connected to this broker. One that crashed may have forgotten its counts (measured on 2.9), and a consumer that
 * was created again starts counting anew. And only if it is young: one that waited long, in our own buffer or before a broker
 * that stalled stored it, may have been redelivered to another sender, or published again, meanwhile.
 */
export class FirstDeliveries {
  readonly #now: () => number;
  /** Messages up to this sequence number may have been delivered before. */
  #suspectUpTo = Number.POSITIVE_INFINITY;

  /** `now`: the time that messages say they were published by, in milliseconds since 1970. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether nothing is believed, for want of a line. */
  get suspectsAll(): boolean {
    return this.#suspectUpTo === Number.POSITIVE_INFINITY;
  }

  suspectAll(): void {
    this.#suspectUpTo = Number.POSITIVE_INFINITY;
  }

  /** Believes what is stored from now on, when this is the last sequence number of the stream. */
  believeAfter(sequence: number): void {
    this.#suspectUpTo = sequence;
  }

  isFirst({ redelivered, seq }: StreamMessage, { publishedAt }: Pick<PublishedDelivery, 'publishedAt'>): boolean {
    return !redelivered && seq > this.#suspectUpTo && this.#now() - publishedAt < BELIEVED_MS;
  }
}
