import type { Logger } from 'pino';
import { createLogThrottle } from '../../lib/log.ts';
import { type JetStreamMessage, type NatsClient, NotConnectedError } from '../../nats/connection.ts';
import { describeRefusal } from '../../nats/refusal.ts';
import {
  type DeliveryEnvelope,
  type DeliveryMessage,
  decodeDeliveryMessage,
  encodeDeliveryMessage,
  MAX_INLINE_DATA_BYTES,
  messageId,
} from './message.ts';

type DeliveryStreamOptions = {
  readonly nats: NatsClient;
  readonly log: Logger;
  /** The clock that all processes share, in milliseconds since 1970. */
  readonly now: () => number;
};

const LOG_INTERVAL_MS = 30_000;
/** Milliseconds for which a refusal counts. Afterwards the next delivery is assumed to be stored. */
const REFUSAL_MS = 60_000;
const MAX_FAN_OUT_BYTES = 4 * 1024 * 1024;
/**
 * DELIVERIES has room for at least this many events with the largest fan-out, and this many messages with the largest
 * data.
 */
const FAN_OUTS = 64;
const INLINE_DATA = 256;
/** Number of undelivered messages above which a new message of any tenant waits too long. */
const CROWDED_ABOVE = 4_000;
const DEPTH_REFRESH_MS = 100;

/** The stream DELIVERIES: publishes deliveries, reads their messages, and records whether JetStream refuses them. */
export class DeliveryStream {
  readonly #options: DeliveryStreamOptions;
  readonly #refusals = createLogThrottle(LOG_INTERVAL_MS);
  /** The last delivery's refusal, `at` by performance.now(); undefined if JetStream stored it. */
  #refusal: { readonly reason: string; readonly at: number } | undefined;

  #undelivered = 0;
  #depthReadAt = Number.NEGATIVE_INFINITY;

  constructor(options: DeliveryStreamOptions) {
    this.#options = options;
  }

  get connected(): boolean {
    return this.#options.nats.connected;
  }

  /**
   * Whether JetStream is expected to store deliveries: it is connected, and it stored the last delivery or refused it
   * more than a minute ago.
   */
  get takesDeliveries(): boolean {
    return this.connected && !this.#isRefusing;
  }

  /** The refusal of deliveries, as a sentence for an operator; empty if there is none. */
  get warnings(): readonly string[] {
    const { nats } = this.#options;
    if (!nats.connected || !this.#isRefusing) return [];
    return [describeRefusedDeliveries(nats.names.deliveries.stream, this.#refusal?.reason)];
  }

  get #isRefusing(): boolean {
    return this.#refusal !== undefined && performance.now() - this.#refusal.at < REFUSAL_MS;
  }

  /** Event data up to this size is sent inside the messages of its deliveries. */
  get maxInlineDataBytes(): number {
    const { maxPayloadBytes, deliveriesMaxBytes } = this.#options.nats;
    return Math.min(
      MAX_INLINE_DATA_BYTES,
      Math.floor(maxPayloadBytes / 2),
      Math.floor(deliveriesMaxBytes / INLINE_DATA),
    );
  }

  /**
   * Limit of the data in all messages of one event together. Beyond it, senders read the data from Postgres, so that an
   * event for many subscriptions does not fill DELIVERIES.
   */
  get maxFanOutBytes(): number {
    return Math.min(MAX_FAN_OUT_BYTES, Math.floor(this.#options.nats.deliveriesMaxBytes / FAN_OUTS));
  }

  /** Resolves and rejects as NatsClient.publish does. */
  async publish(message: DeliveryMessage): Promise<void> {
    const { nats, now } = this.#options;
    const subject = nats.names.deliverySubject(message.subscriptionId);
    const body = encodeDeliveryMessage({ ...message, publishedAt: now() });
    try {
      await nats.publish(subject, body, { msgID: messageId(message) });
    } catch (error) {
      if (!(error instanceof NotConnectedError)) this.#noteRefusal(describeRefusal(error));
      throw error;
    }
    this.#refusal = undefined;
  }

  #noteRefusal(reason: string): void {
    const { nats, log } = this.#options;
    this.#refusal = { reason, at: performance.now() };
    const count = this.#refusals.note();
    if (count === undefined) return;
    const { stream } = nats.names.deliveries;
    log.error({ stream, reason, count }, describeRefusedDeliveries(stream, reason));
  }

  /** Decodes a message that publish() sent. Removes any other message from the stream and returns undefined. */
  read(message: JetStreamMessage): DeliveryEnvelope | undefined {
    const body = this.#options.nats.unseal('deliveries', message);
    try {
      if (body !== undefined) return decodeDeliveryMessage(body);
    } catch (error) {
      // Another version of the program published this message. The sweeper will find the delivery without a message.
      this.#options.log.error({ err: error }, 'delivery message dropped; it could not be decoded');
    }
    message.term();
    return undefined;
  }

  /** Messages that no sender has received yet. */
  async undeliveredCount(): Promise<number> {
    const { nats } = this.#options;
    const { stream, consumer } = nats.names.deliveries;
    return nats.withJetStreamManager(async (jsm) => (await jsm.consumers.info(stream, consumer)).num_pending);
  }

  /** Time at which the oldest message was published; undefined if there is none. */
  async oldestPublishedAt(): Promise<Date | undefined> {
    const { nats } = this.#options;
    const { state } = await nats.withJetStreamManager((jsm) => jsm.streams.info(nats.names.deliveries.stream));
    return state.messages === 0 ? undefined : new Date(state.first_ts);
  }

  /**
   * Whether the senders are overloaded, for publishers. Never waits: the answer is about 0.1 s old, and a call may
   * start the next reading.
   */
  isCrowded(): boolean {
    if (performance.now() - this.#depthReadAt >= DEPTH_REFRESH_MS) {
      this.#depthReadAt = performance.now();
      void this.#readDepth();
    }
    return this.#undelivered >= CROWDED_ABOVE;
  }

  async #readDepth(): Promise<void> {
    // While NATS is unavailable, nothing is published.
    this.#undelivered = await this.undeliveredCount().catch(() => 0);
  }
}

function describeRefusedDeliveries(stream: string, reason = ''): string {
  return `JetStream refuses deliveries for the stream ${stream}: ${reason}; they wait in Postgres and are sent when it accepts them again`;
}
