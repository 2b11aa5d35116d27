import {
  ErrorCode,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  type NatsConnection,
  NatsError,
} from 'nats';
import type { Logger } from 'pino';
import {
  type DeliveryEnvelope,
  type DeliveryMessage,
  decodeDeliveryMessage,
  encodeDeliveryMessage,
  MAX_INLINE_DATA_BYTES,
  messageId,
} from '../delivery/queue/message.ts';
import { RedeliveryGuard } from '../delivery/sending/redelivery.ts';
import { type AnnouncedAttempt, AttemptFeed, type AttemptWatcher } from '../delivery-log/feed.ts';
import { withinLoopTime } from '../lib/event-loop.ts';
import { seldom } from '../lib/log.ts';
import { pause } from '../lib/loop.ts';
import { type ConsumeOptions, consume } from './consume.ts';
import { judgeServerVersion, type LoginFiles, NatsLink } from './link.ts';
import { type MessageSeal, type NatsNames, natsNames } from './names.ts';
import { type StreamCheck, StreamReconciler } from './reconcile.ts';
import { describeRefusal } from './refusal.ts';
import { ForeignStreamError, type StreamSettings } from './streams.ts';

type EventBusOptions = {
  readonly servers: readonly string[];
  readonly loginFiles?: LoginFiles;
  /** Default: those without a prefix. */
  readonly names?: NatsNames;
  /** Of the streams that are created. */
  readonly streams?: StreamSettings;
  /** Whether this process deletes dispatched events when EVENTS is crowded: a dispatcher does. */
  readonly makesRoom?: boolean;
  readonly seal: MessageSeal;
  readonly log: Logger;
  /** The time that deliveries are published by, in milliseconds since 1970: the same in every process. */
  readonly now?: () => number;
};

const RETRY_MS = 1_000;
const LOG_INTERVAL_MS = 30_000;
const PUBLISH_TIMEOUT_MS = 5_000;
/** When the client itself stops waiting for the answer to a publish: never before we do. */
const ABANDON_MS = 60_000;
const IDLE_CHECK_MS = 30_000;
const TIMEOUT: string = ErrorCode.Timeout;
/** For how long a refused delivery says something about the next one. */
const REFUSAL_MS = 60_000;
const MAX_FAN_OUT_BYTES = 4 * 1024 * 1024;
/** So many events for many subscriptions, and so many times the largest data, fit into DELIVERIES at least. */
const FAN_OUTS = 64;
const INLINE_DATA = 256;
/** NATS's own default: what fits into it is what publishers are told. */
const USUAL_PAYLOAD_BYTES = 1024 * 1024;

/**
 * The program's connection to NATS. It is started once, connects in the background for as long as it takes, and checks its
 * streams at every connection and every 30 s. While NATS is away, publishing rejects within 5 s and consuming pauses.
 */
export class NatsClient {
  readonly names: NatsNames;
  /** Messages that were not ours, though on our subjects, since the start. */
  readonly forged = { deliveries: 0, log: 0 };
  readonly #options: EventBusOptions;
  readonly #link: NatsLink;
  readonly #streams: StreamReconciler;
  readonly #feed: AttemptFeed;
  readonly #now: () => number;
  readonly #firstDeliveries: RedeliveryGuard;
  readonly #forgeries = seldom(LOG_INTERVAL_MS);
  readonly #complaints = seldom(LOG_INTERVAL_MS);
  readonly #refusals = seldom(LOG_INTERVAL_MS);
  readonly #fullness = seldom(LOG_INTERVAL_MS);
  /** Of the connection as it is now, until it breaks. */
  #period = new AbortController();
  /** Aborts consuming, which continues through reconnects, when the connection is closed or a stream turns out to be foreign. */
  #consuming = new AbortController();
  #warnedOf: string | undefined;
  #fault: string | undefined;
  /** What the last check found. */
  #check: StreamCheck | undefined;
  /** Why JetStream did not take a delivery; undefined once it has taken one. */
  #refusal: { readonly reason: string; readonly at: number } | undefined;
  #connection: NatsConnection | undefined;
  #jetStream: JetStreamClient | undefined;
  #connected = false;

  constructor(options: EventBusOptions) {
    const { servers, loginFiles, streams = {}, makesRoom = false, log, seal, names = natsNames() } = options;
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#firstDeliveries = new RedeliveryGuard(this.#now);
    this.names = names;
    this.#streams = new StreamReconciler({ log, names, settings: streams, makesRoom, now: Date.now });
    this.#feed = new AttemptFeed({
      names,
      seal,
      log,
      onForged: (subject) => {
        this.forged.log += 1;
        this.#complainOfForgery(subject);
      },
    });
    this.#link = new NatsLink({
      ...{ login: { servers, files: loginFiles }, names, log },
      onOpen: (connection, signal) => {
        this.#open(connection, signal);
      },
      onUp: (connection) => {
        this.#begin(connection);
      },
      onDown: () => {
        this.#end();
      },
    });
  }

  /** Whether NATS answers and the streams are there. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Reasons why NATS cannot be used, in sentences for the log and `/health/ready`; empty if it can. */
  get problems(): readonly string[] {
    const fault = this.#link.fault ?? this.#fault;
    if (fault !== undefined) return [`NATS cannot be used: ${fault}`];
    return this.#connected ? [] : ['NATS is not connected'];
  }

  /** What an operator should know while everything goes on: streams that are nearly full, and deliveries that are refused. */
  get warnings(): readonly string[] {
    const { stream } = this.names.deliveries;
    const refusal = this.#isRefusing ? [describeRefusedDeliveries(stream, this.#refusal?.reason)] : [];
    return this.#connected ? [...(this.#check?.warnings ?? []), ...refusal] : [];
  }

  /** Whether NATS takes deliveries: it is there, and the last one was not refused, or a minute ago. */
  get takesDeliveries(): boolean {
    return this.#connected && !this.#isRefusing;
  }

  get #isRefusing(): boolean {
    return this.#refusal !== undefined && performance.now() - this.#refusal.at < REFUSAL_MS;
  }

  /** Whether EVENTS has so little room left that publishers may be refused soon. */
  get eventsNearlyFull(): boolean {
    return this.#check?.nearlyFull.has(this.names.events.stream) === true;
  }

  start(): void {
    this.#link.start();
  }

  async stop(): Promise<void> {
    await this.#link.stop();
  }

  /**
   * Resolves when JetStream has stored the message. Rejects with a NoAnswerError, though it may be stored, if there is no answer
   * within 5 s; at once without NATS.
   */
  async publishDelivery(message: DeliveryMessage): Promise<void> {
    // While it is disconnected the client takes messages and drops them.
    if (this.#jetStream === undefined || !this.#connected) throw new Error('NATS is not connected');
    const subject = this.names.deliverySubject(message.subscriptionId);
    const body = encodeDeliveryMessage({ ...message, publishedAt: this.#now() });
    const published = this.#jetStream.publish(subject, this.#options.seal.seal(subject, body), {
      msgID: messageId(message),
      timeout: ABANDON_MS,
    });
    try {
      // An answer that came while this process was stalled counts: its message is stored, and may have been taken.
      await withinLoopTime(PUBLISH_TIMEOUT_MS, published);
    } catch (error) {
      this.#noteRefusal(describeRefusal(error));
      throw error;
    }
    this.#refusal = undefined;
  }

  #noteRefusal(reason: string): void {
    this.#refusal = { reason, at: performance.now() };
    const count = this.#refusals.note();
    if (count === undefined) return;
    const { stream } = this.names.deliveries;
    this.#options.log.error({ stream, reason, count }, describeRefusedDeliveries(stream, reason));
  }

  /** The delivery in a message of publishDelivery; undefined for any other message, which is removed from the stream. */
  readDelivery(message: JetStreamMessage): DeliveryEnvelope | undefined {
    const body = this.#options.seal.open(message.subject, message.data);
    try {
      if (body !== undefined) return decodeDeliveryMessage(body);
      this.forged.deliveries += 1;
      this.#complainOfForgery(message.subject);
    } catch (error) {
      // Published by another version of the program. The sweeper finds the delivery without its message.
      this.#options.log.error({ err: error }, 'a delivery message could not be read, and was dropped');
    }
    message.term();
    return undefined;
  }

  /** Data up to this size goes with the messages of its deliveries. */
  get maxInlineDataBytes(): number {
    const payload = this.#connection?.info?.max_payload ?? 0;
    return Math.min(MAX_INLINE_DATA_BYTES, Math.floor(payload / 2), Math.floor(this.#deliveriesMaxBytes / INLINE_DATA));
  }

  /**
   * How many bytes of data go with all messages of one event together: beyond that, senders read it from Postgres, so that
   * an event for many subscriptions does not fill DELIVERIES.
   */
  get maxFanOutBytes(): number {
    return Math.min(MAX_FAN_OUT_BYTES, Math.floor(this.#deliveriesMaxBytes / FAN_OUTS));
  }

  get #deliveriesMaxBytes(): number {
    return this.#check?.deliveriesMaxBytes ?? Number.POSITIVE_INFINITY;
  }

  /** Asks JetStream something; rejects when it does not answer within 5 s, at once without NATS. */
  async withJetStreamManager<T>(ask: (jsm: JetStreamManager) => Promise<T>): Promise<T> {
    if (this.#connection === undefined) throw new Error('NATS is not connected');
    return ask(await managerOf(this.#connection));
  }

  /**
   * Whether a message of DELIVERIES can be believed that it was never delivered before, and is the only one. JetStream
   * drops a copy that somebody publishes under its message id; one under another id, or none, is not believed.
   */
  isFirstDelivery(message: JetStreamMessage, delivery: DeliveryEnvelope): boolean {
    if (!this.#firstDeliveries.isCertainlyFirst(message, delivery)) return false;
    return message.headers?.get('Nats-Msg-Id') === messageId(delivery);
  }

  /** Tells every api process about a committed attempt; nothing is promised. */
  announce(attempt: AnnouncedAttempt): void {
    if (this.#connected) this.#feed.announce(this.#connection, attempt);
  }

  /** Tells the watcher of every attempt announced from now on, until the returned function is called. */
  watchAttempts(watcher: AttemptWatcher): () => void {
    return this.#feed.watch(watcher);
  }

  /** Hands over a consumer's messages until the signal aborts; what is buffered then is still handed over. */
  async consume(options: ConsumeOptions): Promise<void> {
    const current = () =>
      this.#connected && this.#jetStream !== undefined
        ? { jetStream: this.#jetStream, signal: this.#consuming.signal }
        : undefined;
    await consume({ current, names: this.names, log: this.#options.log, quietMs: IDLE_CHECK_MS }, options);
  }

  #complainOfForgery(subject: string): void {
    const count = this.#forgeries.note();
    if (count === undefined) return;
    this.#options.log.error(
      { count, subject },
      'messages that none of our processes made, with this SECRETS_KEY, were dropped; see who may publish there',
    );
  }

  #open(connection: NatsConnection, signal: AbortSignal): void {
    this.#connection = connection;
    this.#jetStream = connection.jetstream({ timeout: PUBLISH_TIMEOUT_MS });
    const consuming = new AbortController();
    this.#consuming = consuming;
    signal.addEventListener('abort', () => {
      consuming.abort();
    });
    this.#feed.receive(connection);
    this.#watchSender(connection);
  }

  #begin(connection: NatsConnection): void {
    this.#period.abort();
    this.#period = new AbortController();
    // Not awaited: what it asks a server that has gone is answered by nobody, and it ends.
    void this.#keepStreams(connection, this.#period.signal);
  }

  #end(): void {
    this.#period.abort();
    this.#connected = false;
    this.#firstDeliveries.distrustAll();
  }

  async #keepStreams(connection: NatsConnection, signal: AbortSignal): Promise<void> {
    const isOver = () => signal.aborted;
    while (!isOver()) {
      try {
        await pause(await this.#checkStreams(connection, signal), signal);
      } catch (error) {
        if (isOver()) return;
        this.#connected = false;
        this.#fault = error instanceof ForeignStreamError ? error.message : describeSilence(error);
        if (error instanceof ForeignStreamError) this.#consuming.abort();
        if (this.#complaints.note() !== undefined) {
          this.#options.log.error({ reason: this.#fault }, 'JetStream cannot be used; trying again every second');
        }
        await pause(RETRY_MS, signal);
      }
    }
  }

  /** Returns after how many milliseconds to check again. */
  async #checkStreams(connection: NatsConnection, signal: AbortSignal): Promise<number> {
    const jsm = await managerOf(connection);
    const canPurge = judgeServerVersion(connection.info?.version) === 'sound';
    const check = await this.#streams.check(jsm, { canPurge });
    const { created, nextInMs, warnings } = check;
    this.#check = check;
    this.#fault = undefined;
    if (warnings.length > 0 && this.#fullness.note() !== undefined) this.#options.log.warn(warnings.join('; '));
    if (created || !this.#connected || this.#firstDeliveries.distrustsAll) await this.#suspectStored(jsm, signal);
    if (this.#connected || signal.aborted) return nextInMs;
    if (this.#consuming.signal.aborted) this.#consuming = new AbortController();
    this.#connected = true;
    this.#complaints.reset();
    const { version } = connection.info ?? {};
    this.#options.log.info({ server: version }, 'NATS is ready');
    this.#warnOf(connection);
    this.#feed.gap();
    return nextInMs;
  }

  async #suspectStored(jsm: JetStreamManager, signal: AbortSignal): Promise<void> {
    const { state } = await jsm.streams.info(this.names.deliveries.stream);
    if (!signal.aborted) this.#firstDeliveries.trustFrom(state.last_seq);
  }

  /** Another process, or an operator, may create the sender's consumer again. */
  #watchSender(connection: NatsConnection): void {
    const { stream, consumer } = this.names.deliveries;
    let isAsking = false;
    // The server publishes this advisory when a consumer is created by any client.
    connection.subscribe(`$JS.EVENT.ADVISORY.CONSUMER.CREATED.${stream}.${consumer}`, {
      callback: () => {
        this.#firstDeliveries.distrustAll();
        // Anybody may say so, thousands of times. If it fails, everything is suspect until the next regular check.
        if (isAsking) return;
        isAsking = true;
        const { signal } = this.#period;
        managerOf(connection)
          .then((jsm) => this.#suspectStored(jsm, signal))
          .catch(() => undefined)
          .finally(() => {
            isAsking = false;
          });
      },
    });
  }

  #warnOf({ info }: NatsConnection): void {
    const { log } = this.#options;
    const { version, max_payload: maxPayload = USUAL_PAYLOAD_BYTES } = info ?? {};
    const facts = `${version ?? ''} ${maxPayload}`;
    if (facts === this.#warnedOf) return;
    this.#warnedOf = facts;
    if (judgeServerVersion(version) !== 'sound') {
      log.warn(
        { server: version },
        'nats-server before 2.12.5 can lose or strand messages when it is killed; they are found again, but later',
      );
    }
    if (maxPayload < USUAL_PAYLOAD_BYTES) {
      log.warn(
        { maxPayload },
        'max_payload of nats-server is below 1 MiB: it refuses larger events that publishers send',
      );
    }
  }
}

/** With a full disk, nats-server 2.9 is connected and answers nothing, until it is started again. */
function describeSilence(error: unknown): string {
  const reason = describeRefusal(error);
  const isSilent = error instanceof NatsError && error.code === TIMEOUT;
  return isSilent
    ? `JetStream does not answer (${reason}): see the log of nats-server, and whether its disk is full`
    : reason;
}

function describeRefusedDeliveries(stream: string, reason = ''): string {
  return `JetStream refuses deliveries for the stream ${stream}: ${reason}; they wait in Postgres, and are sent once it takes them`;
}

/** It asks for no account info, which our user may not be allowed to. */
function managerOf(connection: NatsConnection): Promise<JetStreamManager> {
  return connection.jetstreamManager({ timeout: PUBLISH_TIMEOUT_MS, checkAPI: false });
}

/** A message of a stream that waits for its ack. What is said of it while NATS is away is lost, and it comes again. */
export type JetStreamMessage = Pick<
  JsMsg,
  'subject' | 'headers' | 'data' | 'seq' | 'info' | 'redelivered' | 'ack' | 'nak' | 'working' | 'term'
>;
