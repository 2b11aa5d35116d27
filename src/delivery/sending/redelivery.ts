import type { JetStreamMessage } from '../../nats/connection.ts';
import { type DeliveryEnvelope, TRUST_FIRST_FOR_MS } from '../queue/message.ts';

/**
 * Whether a message of DELIVERIES that says it was never delivered can be believed: only if it was stored since we have
 * been connected to this broker. One that crashed may have forgotten its counts (measured on 2.9), and a consumer that
 * was created again starts counting anew. And only if it is young: one that waited long, in our own buffer or before a broker
 * that stalled stored it, may have been redelivered to another sender, or published again, meanwhile.
 */
export class RedeliveryGuard {
  readonly #now: () => number;
  /** Messages up to this sequence number may have been delivered before. */
  #suspectUpTo = Number.POSITIVE_INFINITY;

  /** `now`: the time that messages say they were published by, in milliseconds since 1970. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether nothing is believed, for want of a line. */
  get distrustsAll(): boolean {
    return this.#suspectUpTo === Number.POSITIVE_INFINITY;
  }

  distrustAll(): void {
    this.#suspectUpTo = Number.POSITIVE_INFINITY;
  }

  /** Believes what is stored from now on, when this is the last sequence number of the stream. */
  trustFrom(sequence: number): void {
    this.#suspectUpTo = sequence;
  }

  isCertainlyFirst(
    { redelivered, seq }: JetStreamMessage,
    { publishedAt }: Pick<DeliveryEnvelope, 'publishedAt'>,
  ): boolean {
    return !redelivered && seq > this.#suspectUpTo && this.#now() - publishedAt < TRUST_FIRST_FOR_MS;
  }
}

/** Waits up to this long stay in JetStream; longer ones are left to Postgres and the sweeper. */
export const MAX_SHORT_WAIT_MS = 60_000;
/** Messages that wait count against the consumer's max_ack_pending, so only so many may. */
const MAX_WAITING = 1_000;
/**
 * nats-server restarts its redelivery timer with every nak: sent one by one, some hundred a second keep everything from
 * falling due for seconds. In bursts they do not (measured on 2.9 and 2.15).
 */
const FLUSH_INTERVAL_MS = 250;

/** The messages that this process has told JetStream to deliver again later. */
export class DelayedNaks {
  /** When each wait ends, here and below on performance.now()'s clock. */
  #ends: number[] = [];
  #unsent: { readonly message: JetStreamMessage; readonly dueAt: number }[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** Takes a place for a wait until `dueAt`; false if the wait is too long or there is none left. */
  reserve(dueAt: number, now: number): boolean {
    if (dueAt - now > MAX_SHORT_WAIT_MS) return false;
    if (this.#ends.length >= MAX_WAITING) this.#ends = this.#ends.filter((end) => end > now);
    if (this.#ends.length >= MAX_WAITING) return false;
    this.#ends.push(dueAt);
    return true;
  }

  /** Has the message delivered again at `dueAt`. */
  nakUntil(message: JetStreamMessage, dueAt: number): void {
    this.#unsent.push({ message, dueAt });
    this.#timer ??= setTimeout(() => {
      this.flush();
    }, FLUSH_INTERVAL_MS);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const now = performance.now();
    for (const { message, dueAt } of this.#unsent.splice(0)) message.nak(Math.max(1, Math.ceil(dueAt - now)));
  }
}
