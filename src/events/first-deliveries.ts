import type { StreamMessage } from './stream-message.ts';

/** Half of the sender's ack wait. */
const MAX_AGE_MS = 30_000;

/**
 * Whether a message of DELIVERIES that says it was never delivered can be believed: only if it was stored since we have
 * been connected to this broker. One that crashed may have forgotten its counts (measured on 2.9), and a consumer that
 * was created again starts counting anew. And only if it is young: one that has waited long in our own buffer may have
 * been redelivered to somebody else meanwhile.
 */
export class FirstDeliveries {
  /** Messages up to this sequence number may have been delivered before. */
  #suspectUpTo = Number.POSITIVE_INFINITY;

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

  isFirst({ redelivered, seq, info }: StreamMessage): boolean {
    const ageMs = Date.now() - info.timestampNanos / 1e6;
    return !redelivered && seq > this.#suspectUpTo && ageMs < MAX_AGE_MS;
  }
}
