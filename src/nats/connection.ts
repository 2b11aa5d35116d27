import {
  ErrorCode,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  type NatsConnection,
  NatsError,
} from 'nats';
import type { Logger } from 'pino';
import { createLogThrottle } from '../lib/log.ts';
import { pause, whenAborted } from '../lib/waiting.ts';
import { type ConsumeOptions, consume } from './consume.ts';
import { type CoreSubscription, CoreSubscriptions } from './core-subscriptions.ts';
import { assessServerVersion, type LoginFiles, NatsLink } from './link.ts';
import { type MessageSeal, type NatsNames, natsNames } from './names.ts';
import { JetStreamPublisher, NoAnswerError } from './publisher.ts';
import { type StreamCheck, StreamReconciler } from './reconcile.ts';
import { describeRefusal, isServerUnavailable } from './refusal.ts';
import { ForeignStreamError, type StreamSettings } from './streams.ts';

type NatsClientOptions = {
  readonly servers: readonly string[];
  readonly loginFiles?: LoginFiles;
  /** Default: the names without a prefix. */
  readonly names?: NatsNames;
  /** Applied to the streams that this process creates. */
  readonly streams?: StreamSettings;
  /** Whether this process deletes dispatched events when EVENTS is crowded: true in a dispatcher. */
  readonly deletesDispatchedEvents?: boolean;
  readonly seal: MessageSeal;
  readonly log: Logger;
  /** Maximum milliseconds between two checks of the streams. Default: 30,000. */
  readonly checkIntervalMs?: number;
};

/** A part that reacts to changes of the connection. */
export type NatsListener = {
  /** Called with each new connection; subscriptions made on it survive its reconnects. */
  readonly onOpen?: (connection: NatsConnection) => void;
  /** Made on each connection, and again before each check of the streams if nats-server denied it. */
  readonly subscription?: CoreSubscription;
  /**
   * Called after each check of the streams. The client counts as connected only after the returned promise has
   * resolved.
   */
  readonly onStreamsChecked?: (check: StreamsChecked) => Promise<void>;
  /** Called when the client becomes connected. */
  readonly onReady?: () => void;
  /** Called when the connection is lost. */
  readonly onLost?: () => void;
};

type StreamsChecked = {
  readonly jsm: JetStreamManager;
  /** Whether this is the first check since the connection was lost, or a stream or consumer was created. */
  readonly isNew: boolean;
  /** Aborts when the connection is lost. */
  readonly signal: AbortSignal;
};

/** Kinds of messages that the processes of an installation send each other. */
type SealedKind = 'deliveries' | 'log' | 'senders' | 'readers' | 'processes';

/** The client is not connected, so the request was not sent. */
export class NotConnectedError extends Error {
  constructor() {
    super('NATS is not connected');
  }
}

const RETRY_MS = 1_000;
const LOG_INTERVAL_MS = 30_000;
/** Milliseconds. Time limit of a publication or request. */
const REQUEST_TIMEOUT_MS = 5_000;
/**
 * Milliseconds without a working JetStream before the process reconnects to the next server of the cluster: a server
 * that is cut off from the other servers keeps its client connections.
 */
const LEAVE_AFTER_MS = 10_000;
const IDLE_CHECK_MS = 30_000;
const TIMEOUT: string = ErrorCode.Timeout;
/** The default max_payload of nats-server, documented as the size of the largest event. */
const USUAL_PAYLOAD_BYTES = 1024 * 1024;

/**
 * The process's connection to NATS. After its start it connects in the background, however long that takes, and checks
 * its streams after each connect and every 30 s. While NATS is unavailable, publishing rejects within 5 s and consuming
 * pauses.
 */
export class NatsClient {
  readonly names: NatsNames;
  /** Number of received messages since the start that were not sealed with this installation's key. */
  readonly forged: Record<SealedKind, number> = { deliveries: 0, log: 0, senders: 0, readers: 0, processes: 0 };
  readonly #options: NatsClientOptions;
  readonly #link: NatsLink;
  readonly #streams: StreamReconciler;
  readonly #listeners: NatsListener[] = [];
  readonly #subscriptions = new CoreSubscriptions();
  readonly #forgeries = createLogThrottle(LOG_INTERVAL_MS);
  readonly #failures = createLogThrottle(LOG_INTERVAL_MS);
  readonly #fullness = createLogThrottle(LOG_INTERVAL_MS);
  /** Aborts when the current connection is lost. */
  #period = new AbortController();
  /** Aborts consuming when the connection is closed or a stream turns out to be foreign. Reconnects do not abort it. */
  #consuming = new AbortController();
  #warnedOf: string | undefined;
  #fault: string | undefined;
  /** Result of the last check. */
  #check: StreamCheck | undefined;
  #connection: NatsConnection | undefined;
  #jetStream: JetStreamClient | undefined;
  #publisher: JetStreamPublisher | undefined;
  #connected = false;
  /** Ends the pause before the next check of the streams. */
  #checkSoon: () => void = () => undefined;

  constructor(options: NatsClientOptions) {
    const { servers, loginFiles, streams = {}, deletesDispatchedEvents = false, log, names = natsNames() } = options;
    this.#options = options;
    this.names = names;
    this.#streams = new StreamReconciler({
      log,
      names,
      settings: streams,
      deletesDispatchedEvents,
      now: () => performance.now(),
    });
    this.#link = new NatsLink({
      login: { servers, files: loginFiles },
      names,
      log,
      onOpen: (connection, signal) => {
        this.#open(connection, signal);
      },
      onUp: (connection) => {
        this.#begin(connection);
      },
      onDown: () => {
        this.#end();
      },
      onDenied: (denial) => {
        this.#publisher?.refuse(denial);
      },
    });
  }

  /** Whether JetStream answers and the streams exist. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Aborts when the current connection is lost. */
  get connectionSignal(): AbortSignal {
    return this.#period.signal;
  }

  /** Reasons why NATS cannot be used, as sentences for the log and `/health/ready`; empty if it can be used. */
  get problems(): readonly string[] {
    const fault = this.#link.fault ?? this.#fault;
    if (fault !== undefined) return [`NATS cannot be used: ${fault}`];
    return this.#connected ? [] : ['NATS is not connected'];
  }

  /** Streams that are nearly full, which need an operator's attention although NATS can be used. */
  get streamWarnings(): readonly string[] {
    return this.#connected ? (this.#check?.warnings ?? []) : [];
  }

  /** The warnings about streams, and a missing permission that only roll calls need. */
  get warnings(): readonly string[] {
    const denied = this.#link.warning;
    return this.#connected && denied !== undefined ? [...this.streamWarnings, denied] : this.streamWarnings;
  }

  /** Whether EVENTS is nearly full, so that it may soon reject publications. */
  get eventsNearlyFull(): boolean {
    return this.#check?.nearlyFull.has(this.names.events.stream) === true;
  }

  /** The server's maximum message size in bytes; 0 before the first connection. */
  get maxPayloadBytes(): number {
    return this.#connection?.info?.max_payload ?? 0;
  }

  /** The max_bytes of DELIVERIES; infinite if it has no limit, or before the first check. */
  get deliveriesMaxBytes(): number {
    return this.#check?.deliveriesMaxBytes ?? Number.POSITIVE_INFINITY;
  }

  /** Registers a listener. Call this before start(), so that the listener receives every call. */
  listen(listener: NatsListener): void {
    this.#listeners.push(listener);
  }

  start(): void {
    this.#link.start();
  }

  async stop(): Promise<void> {
    await this.#link.stop();
  }

  /**
   * Seals the body and publishes it to JetStream. Resolves when it is stored. Without a connection, rejects at once
   * with a NotConnectedError. If there is no answer within 5 s, rejects with a NoAnswerError; the message may be
   * stored.
   */
  async publish(subject: string, body: Uint8Array, { msgID }: { readonly msgID: string }): Promise<void> {
    // A disconnected client accepts messages and drops them.
    if (this.#publisher === undefined || !this.#connected) throw new NotConnectedError();
    const sealed = this.#options.seal.seal(subject, body);
    try {
      await this.#publisher.publish(subject, sealed, msgID);
    } catch (error) {
      if (error instanceof NoAnswerError) this.#checkSoon();
      throw error;
    }
  }

  /** Seals the body and sends it to the current subscribers of the subject, without any guarantee. */
  broadcast(subject: string, body: Uint8Array): void {
    if (this.#connected) this.#connection?.publish(subject, this.#options.seal.seal(subject, body));
  }

  /**
   * Returns the body of a sealed message. If the message was not sealed with this installation's key, counts and logs
   * it, and returns undefined.
   */
  unseal(kind: SealedKind, { subject, data }: Pick<JsMsg, 'subject' | 'data'>): Buffer | undefined {
    const body = this.#options.seal.open(subject, data);
    if (body === undefined) {
      this.forged[kind] += 1;
      this.#logForgery(subject);
    }
    return body;
  }

  /** Sends a request to JetStream. Rejects without an answer within 5 s, and at once without a connection. */
  async withJetStreamManager<T>(ask: (jsm: JetStreamManager) => Promise<T>): Promise<T> {
    if (this.#connection === undefined) throw new NotConnectedError();
    return ask(await managerOf(this.#connection));
  }

  /**
   * Passes a consumer's messages to `onMessage` until the signal aborts, and then those that nats-server had already
   * sent.
   */
  async consume(options: ConsumeOptions): Promise<void> {
    const current = () =>
      this.#connected && this.#jetStream !== undefined
        ? { jetStream: this.#jetStream, signal: this.#consuming.signal }
        : undefined;
    await consume({ current, names: this.names, log: this.#options.log, quietMs: IDLE_CHECK_MS }, options);
  }

  #logForgery(subject: string): void {
    const count = this.#forgeries.note();
    if (count === undefined) return;
    this.#options.log.error(
      { count, subject },
      'messages were dropped because no process of this installation sealed them (SECRETS_KEY); check who may publish to this subject',
    );
  }

  #open(connection: NatsConnection, signal: AbortSignal): void {
    this.#connection = connection;
    this.#jetStream = connection.jetstream({ timeout: REQUEST_TIMEOUT_MS });
    const publisher = new JetStreamPublisher(connection, this.names.inboxPrefix, REQUEST_TIMEOUT_MS);
    this.#publisher = publisher;
    const consuming = new AbortController();
    this.#consuming = consuming;
    signal.addEventListener('abort', () => {
      consuming.abort();
      publisher.close();
    });
    for (const { onOpen } of this.#listeners) onOpen?.(connection);
  }

  #begin(connection: NatsConnection): void {
    this.#period.abort();
    this.#period = new AbortController();
    // Not awaited: it ends when the connection is lost.
    void this.#keepStreams(connection, this.#period.signal);
  }

  #end(): void {
    this.#period.abort();
    this.#connected = false;
    for (const { onLost } of this.#listeners) onLost?.();
  }

  async #keepStreams(connection: NatsConnection, signal: AbortSignal): Promise<void> {
    const isOver = () => signal.aborted;
    let workedAt = performance.now();
    while (!isOver()) {
      try {
        const nextInMs = await this.#checkStreams(connection, signal);
        const pausing = new AbortController();
        this.#checkSoon = () => {
          pausing.abort();
        };
        const forget = whenAborted(signal, this.#checkSoon);
        await pause(nextInMs, pausing.signal);
        forget();
        workedAt = performance.now();
      } catch (error) {
        if (isOver()) return;
        this.#connected = false;
        this.#fault = error instanceof ForeignStreamError ? error.message : describeFailure(error);
        if (error instanceof ForeignStreamError) this.#consuming.abort();
        if (this.#failures.note() !== undefined) {
          this.#options.log.error({ reason: this.#fault }, 'JetStream cannot be used; retrying every second');
        }
        const leaves = isServerUnavailable(error) && performance.now() - workedAt > LEAVE_AFTER_MS;
        // The connection to the next server starts a new check.
        if (leaves && (await this.#link.useNextServer(connection).catch(() => false))) return;
        await pause(RETRY_MS, signal);
      }
    }
  }

  /** Checks the streams and returns the milliseconds until the next check. */
  async #checkStreams(connection: NatsConnection, signal: AbortSignal): Promise<number> {
    // First, because nats-server reports a denial before it answers the requests of the check.
    this.#subscriptions.ensure(
      connection,
      this.#listeners.flatMap(({ subscription = [] }) => subscription),
    );
    const jsm = await managerOf(connection);
    const canPurge = assessServerVersion(connection.info?.version) === 'sound';
    const check = await this.#streams.check(jsm, { canPurge });
    const { created, warnings } = check;
    const nextInMs = Math.min(check.nextInMs, this.#options.checkIntervalMs ?? check.nextInMs);
    this.#check = check;
    this.#fault = undefined;
    if (warnings.length > 0 && this.#fullness.note() !== undefined) this.#options.log.warn(warnings.join('; '));
    const checked = { jsm, isNew: created || !this.#connected, signal };
    for (const { onStreamsChecked } of this.#listeners) await onStreamsChecked?.(checked);
    if (this.#connected || signal.aborted) return nextInMs;
    if (this.#consuming.signal.aborted) this.#consuming = new AbortController();
    this.#connected = true;
    this.#failures.reset();
    const { version } = connection.info ?? {};
    this.#options.log.info({ server: version }, 'NATS is ready');
    this.#warnOf(connection);
    for (const { onReady } of this.#listeners) onReady?.();
    return nextInMs;
  }

  #warnOf({ info }: NatsConnection): void {
    const { log } = this.#options;
    const { version, max_payload: maxPayload = USUAL_PAYLOAD_BYTES } = info ?? {};
    const facts = `${version ?? ''} ${maxPayload}`;
    if (facts === this.#warnedOf) return;
    this.#warnedOf = facts;
    if (assessServerVersion(version) !== 'sound') {
      log.warn(
        { server: version },
        'nats-server before 2.12.5 can lose or strand messages when it is killed; the engine recovers them, but with a delay',
      );
    }
    if (maxPayload < USUAL_PAYLOAD_BYTES) {
      log.warn(
        { maxPayload },
        'max_payload of nats-server is below 1 MiB: nats-server rejects larger events of publishers',
      );
    }
  }
}

/** With a full disk, nats-server 2.9 accepts connections but answers no requests until it is restarted. */
function describeFailure(error: unknown): string {
  const reason = describeRefusal(error);
  const isSilent = error instanceof NatsError && error.code === TIMEOUT;
  return isSilent
    ? `JetStream does not answer (${reason}): check the log of nats-server, and whether its disk is full`
    : reason;
}

/** Skips the request for account info, which the NATS user may not be permitted to send. */
function managerOf(connection: NatsConnection): Promise<JetStreamManager> {
  return connection.jetstreamManager({ timeout: REQUEST_TIMEOUT_MS, checkAPI: false });
}

/**
 * A message of a stream that is not acknowledged yet. Acks sent while disconnected are lost; the message is then
 * redelivered.
 */
export type JetStreamMessage = Pick<
  JsMsg,
  'subject' | 'headers' | 'data' | 'seq' | 'info' | 'redelivered' | 'ack' | 'nak' | 'working' | 'term'
>;
