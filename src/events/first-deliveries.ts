import type { PublishedDelivery } from './delivery-message.ts';
import type { StreamMessage } from './stream-message.ts';

/** Half of the sender's ack wait. */
const MAX_AGE_MS = 30_000;
/** Of the 5 s after which a message counts as not published; clocks of the publisher and of nats-server may differ by the rest. */
const MAX_STORING_MS = 3_000;

/**
 * Whether a message of DELIVERIES that says it was never delivered can be believed: only if it was stored since we have
 * been connected to this broker. One that crashed may have forgotten its counts (measured on 2.9), and a consumer that
 * was created again starts counting anew. And only if it is young: one that has waited long in our own buffer may have
 * been redelivered to somebody else meanwhile. And only if it was stored soon: after a broker that stood still has got on,
 * the message that was published in its place comes right behind it.
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

  isFirst({ redelivered, seq, info }: StreamMessage, { publishedAt }: Pick<PublishedDelivery, 'publishedAt'>): boolean {
    const storedAt = info.timestampNanos / 1e6;
    const isYoung = this.#now() - storedAt < MAX_AGE_MS && storedAt - publishedAt < MAX_STORING_MS;
    return !redelivered && seq > this.#suspectUpTo && isYoung;
  }
}
