import type { JetStreamManager } from 'nats';
import type { JetStreamMessage, NatsClient } from '../../nats/connection.ts';
import { headersOf } from '../../nats/headers.ts';
import { type DeliveryEnvelope, messageId, TRUST_FIRST_FOR_MS } from '../queue/message.ts';

/**
 * Decides whether a message of DELIVERIES is certainly delivered for the first time. The message's own delivery count is
 * trusted only if the message was stored after this process connected to this broker: a broker that crashed may have lost
 * its delivery counts (measured on 2.9), and a recreated consumer restarts them. It is also trusted only if the message is
 * young: an older one, kept in this process's buffer or stored late by a stalled broker, may in the meantime have been
 * redelivered to another sender or published again.
 */
export class RedeliveryGuard {
  readonly #now: () => number;
  /** Messages with sequence numbers up to this one may have been delivered before. */
  #distrustUpTo = Number.POSITIVE_INFINITY;

  /** `now`: the clock of the messages' publication times, in Unix milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** True while no trusted sequence number is known: every message needs a lease. */
  get distrustsAll(): boolean {
    return this.#distrustUpTo === Number.POSITIVE_INFINITY;
  }

  distrustAll(): void {
    this.#distrustUpTo = Number.POSITIVE_INFINITY;
  }

  /** Trusts messages stored after `sequence`, the last sequence number of the stream. */
  trustFrom(sequence: number): void {
    this.#distrustUpTo = sequence;
  }

  /** Whether the message certainly was not delivered before. */
  isFirstDelivery(
    { redelivered, seq }: Pick<JetStreamMessage, 'redelivered' | 'seq'>,
    { publishedAt }: Pick<DeliveryEnvelope, 'publishedAt'>,
  ): boolean {
    return !redelivered && seq > this.#distrustUpTo && this.#now() - publishedAt < TRUST_FIRST_FOR_MS;
  }

  /**
   * Whether the message certainly was not delivered before and is the delivery's only message. JetStream drops a copy that
   * is published with the same message id; a message with another id, or without one, is not trusted.
   */
  isOnlyMessage(
    message: Pick<JetStreamMessage, 'redelivered' | 'seq' | 'headers'>,
    delivery: DeliveryEnvelope,
  ): boolean {
    if (!this.isFirstDelivery(message, delivery)) return false;
    return headersOf(message)?.get('Nats-Msg-Id') === messageId(delivery);
  }
}

/** A guard that follows the connection, the stream and the sender's consumer. Create it before the client is started. */
export function guardRedeliveries(nats: NatsClient, now: () => number): RedeliveryGuard {
  const guard = new RedeliveryGuard(now);
  const { stream } = nats.names.deliveries;
  let isReading = false;

  async function trustNewMessages(jsm: JetStreamManager, signal: AbortSignal): Promise<void> {
    const { state } = await jsm.streams.info(stream);
    if (!signal.aborted) guard.trustFrom(state.last_seq);
  }

  /** Another process, or an operator, may create the sender's consumer again. */
  function onConsumerCreated(): void {
    guard.distrustAll();
    // One request at a time, because any client can publish this advisory, also thousands of times. If the request fails,
    // no message is trusted until the next regular check.
    if (isReading) return;
    isReading = true;
    const signal = nats.connectionSignal;
    nats
      .withJetStreamManager((jsm) => trustNewMessages(jsm, signal))
      .catch(() => undefined)
      .finally(() => {
        isReading = false;
      });
  }

  nats.listen({
    subscription: { subject: nats.names.senderCreatedSubject, onMessage: onConsumerCreated },
    onStreamsChecked: async ({ jsm, isNew, signal }) => {
      if (isNew || guard.distrustsAll) await trustNewMessages(jsm, signal);
    },
    onLost: () => {
      guard.distrustAll();
    },
  });
  return guard;
}

/** Maximum delay of a redelivery by JetStream, in milliseconds. Deliveries with longer delays are queued in Postgres. */
const MAX_SHORT_WAIT_MS = 60_000;
/**
 * Milliseconds between two bursts of naks. nats-server restarts its redelivery timer with every nak: about a hundred naks a
 * second, sent one by one, delay all redeliveries by seconds. Bursts do not (measured on 2.9 and 2.15).
 */
const FLUSH_INTERVAL_MS = 250;

/** `requested`: attempts that users requested and limits delay. Counted separately, so that backoffs do not delay them. */
type WaitKind = 'backoff' | 'requested';

/** Maximum delayed messages of a process: they count against the consumer's max_ack_pending, and requested ones return soon. */
const MAX_WAITING: Readonly<Record<WaitKind, number>> = { backoff: 1_000, requested: 100 };

/** Naks with a delay, limited in number and sent in bursts. */
export class DelayedNaks {
  readonly #nak: (message: JetStreamMessage, delayMs: number) => void;
  /** The end of each reserved wait. All times of this class are on performance.now()'s clock. */
  readonly #ends: Record<WaitKind, number[]> = { backoff: [], requested: [] };
  #unsent: { readonly message: JetStreamMessage; readonly dueAt: number }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(nak: (message: JetStreamMessage, delayMs: number) => void) {
    this.#nak = nak;
  }

  /** Reserves a delay until `dueAt`; false if the delay is too long or the delays of its kind are reserved. */
  reserve(dueAt: number, now: number, kind: WaitKind = 'backoff'): boolean {
    if (dueAt - now > MAX_SHORT_WAIT_MS) return false;
    if (this.#ends[kind].length >= MAX_WAITING[kind]) this.#ends[kind] = this.#ends[kind].filter((end) => end > now);
    if (this.#ends[kind].length >= MAX_WAITING[kind]) return false;
    this.#ends[kind].push(dueAt);
    return true;
  }

  /** Makes JetStream redeliver the message at `dueAt`. */
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
