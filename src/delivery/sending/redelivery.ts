import type { JetStreamMessage } from '../../nats/connection.ts';
import { type DeliveryEnvelope, TRUST_FIRST_FOR_MS } from '../queue/message.ts';

/**
 * Decides whether a message of DELIVERIES is certainly delivered for the first time. Its own word counts only if it was
 * stored since this process connected to this broker: a broker that crashed may have forgotten its delivery counts
 * (measured on 2.9), and a consumer that was created again starts counting anew. And only if the message is young: an
 * older one, kept in this process's buffer or stored late by a stalled broker, may have been redelivered to another sender, or published
 * again, meanwhile.
 */
export class RedeliveryGuard {
  readonly #now: () => number;
  /** Messages up to this sequence number may have been delivered before. */
  #distrustUpTo = Number.POSITIVE_INFINITY;

  /** `now`: the clock that messages are published by, in Unix milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** True while no trusted sequence number is known: every message is checked. */
  get distrustsAll(): boolean {
    return this.#distrustUpTo === Number.POSITIVE_INFINITY;
  }

  distrustAll(): void {
    this.#distrustUpTo = Number.POSITIVE_INFINITY;
  }

  /** Trusts messages that are stored from now on; `sequence` is the last one of the stream. */
  trustFrom(sequence: number): void {
    this.#distrustUpTo = sequence;
  }

  isCertainlyFirst(
    { redelivered, seq }: Pick<JetStreamMessage, 'redelivered' | 'seq'>,
    { publishedAt }: Pick<DeliveryEnvelope, 'publishedAt'>,
  ): boolean {
    return !redelivered && seq > this.#distrustUpTo && this.#now() - publishedAt < TRUST_FIRST_FOR_MS;
  }
}

/** Maximum delay of a redelivery by JetStream, in milliseconds; longer ones wait in Postgres for the sweeper. */
export const MAX_SHORT_WAIT_MS = 60_000;
/** Maximum delayed messages per process: they count against the consumer's max_ack_pending. */
const MAX_WAITING = 1_000;
/**
 * nats-server restarts its redelivery timer with every nak: sent one by one, some hundred a second delay all redeliveries
 * by seconds. Sent in bursts they do not (measured on 2.9 and 2.15).
 */
const FLUSH_INTERVAL_MS = 250;

/** Naks with a delay, limited in number and sent in bursts. */
export class DelayedNaks {
  readonly #nak: (message: JetStreamMessage, delayMs: number) => void;
  /** When each reserved wait ends, here and below on performance.now()'s clock. */
  #ends: number[] = [];
  #unsent: { readonly message: JetStreamMessage; readonly dueAt: number }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(nak: (message: JetStreamMessage, delayMs: number) => void) {
    this.#nak = nak;
  }

  /** Reserves a wait until `dueAt`; false if it is too long or too many are reserved. */
  reserve(dueAt: number, now: number): boolean {
    if (dueAt - now > MAX_SHORT_WAIT_MS) return false;
    if (this.#ends.length >= MAX_WAITING) this.#ends = this.#ends.filter((end) => end > now);
    if (this.#ends.length >= MAX_WAITING) return false;
    this.#ends.push(dueAt);
    return true;
  }

  /** Has JetStream redeliver the message at `dueAt`. */
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
    for (const { message, dueAt } of this.#unsent.splice(0)) this.#nak(message, Math.max(1, Math.ceil(dueAt - now)));
  }
}
