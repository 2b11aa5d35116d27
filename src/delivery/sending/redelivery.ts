import type { JetStreamManager } from 'nats';
import type { JetStreamMessage, NatsClient } from '../../nats/connection.ts';
import { headersOf } from '../../nats/headers.ts';
import { type DeliveryEnvelope, messageId, TRUST_FIRST_FOR_MS } from '../queue/message.ts';

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

  /**
   * Whether the message was certainly never delivered before and is the delivery's only one. JetStream drops a copy that is
   * published under the same message id; a message under another id, or none, is not trusted.
   */
  isOnlyMessage(
    message: Pick<JetStreamMessage, 'redelivered' | 'seq' | 'headers'>,
    delivery: DeliveryEnvelope,
  ): boolean {
    if (!this.isCertainlyFirst(message, delivery)) return false;
    return headersOf(message)?.get('Nats-Msg-Id') === messageId(delivery);
  }
}

/** A guard that follows the connection, the stream and the sender's consumer. To be created before the client is started. */
export function guardRedeliveries(nats: NatsClient, now: () => number): RedeliveryGuard {
  const guard = new RedeliveryGuard(now);
  const { stream, consumer } = nats.names.deliveries;
  let isReading = false;

  async function trustNewMessages(jsm: JetStreamManager, signal: AbortSignal): Promise<void> {
    const { state } = await jsm.streams.info(stream);
    if (!signal.aborted) guard.trustFrom(state.last_seq);
  }

  /** Another process, or an operator, may create the sender's consumer again. */
  function onConsumerCreated(): void {
    guard.distrustAll();
    // Any client may publish this advisory, thousands of times. If the request fails, nothing is trusted until the next
    // regular check.
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
    onOpen: (connection) => {
      // The server publishes this advisory when any client creates the consumer.
      connection.subscribe(`$JS.EVENT.ADVISORY.CONSUMER.CREATED.${stream}.${consumer}`, {
        callback: onConsumerCreated,
      });
    },
    onStreamsChecked: async ({ jsm, isNew, signal }) => {
      if (isNew || guard.distrustsAll) await trustNewMessages(jsm, signal);
    },
    onLost: () => {
      guard.distrustAll();
    },
  });
  return guard;
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
