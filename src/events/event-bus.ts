import { connect, Events, type JetStreamClient, type JetStreamManager, type NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { withinLoopTime } from '../loop-clock.ts';
import { atMost, pause } from '../pause.ts';
import { whenAborted } from '../when-aborted.ts';
import { type AnnouncedAttempt, AttemptFeed, type AttemptWatcher } from './attempt-feed.ts';
import { connectionOptions } from './connection-options.ts';
import { type ConsumeOptions, consume } from './consume.ts';
import {
  type DeliveryMessage,
  encodeDeliveryMessage,
  MAX_INLINE_DATA_BYTES,
  messageId,
  type PublishedDelivery,
} from './delivery-message.ts';
import { FirstDeliveries } from './first-deliveries.ts';
import { judgeServerVersion } from './server-version.ts';
import { StreamKeeper } from './stream-keeper.ts';
import type { StreamMessage } from './stream-message.ts';

export type EventBusOptions = {
  readonly servers: readonly string[];
  readonly log: Logger;
  /** The time that deliveries are published by, in milliseconds since 1970: the same in every process. */
  readonly now?: () => number;
};

const RETRY_MS = 1_000;
const PUBLISH_TIMEOUT_MS = 5_000;
/** When the client itself stops waiting for the answer to a publish: never before we do. */
const ABANDON_MS = 60_000;
const QUIET_MS = 30_000;
const DRAIN_MS = 1_500;
const STOP_MS = 1_800;
/** What the server tells everybody when a consumer is created, whoever did it. */
const SENDER_CREATED = '$JS.EVENT.ADVISORY.CONSUMER.CREATED.DELIVERIES.sender';

/**
 * The connection to NATS. It is started once, connects in the background for as long as it takes, reconnects by
 * itself, and checks its streams at every connection and every 30 s. While NATS is away, publishing rejects within 5 s
 * and consuming pauses.
 */
export class EventBus {
  readonly #options: EventBusOptions;
  readonly #stopping = new AbortController();
  readonly #streams: StreamKeeper;
  readonly #feed: AttemptFeed;
  readonly #now: () => number;
  readonly #firstDeliveries: FirstDeliveries;
  /** Of the connection as it is now, until it breaks. */
  #period = new AbortController();
  #warnedOf: string | undefined;
  #connection: NatsConnection | undefined;
  #jetStream: JetStreamClient | undefined;
  #connected = false;
  #running: Promise<void> | undefined;

  constructor(options: EventBusOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#firstDeliveries = new FirstDeliveries(this.#now);
    this.#streams = new StreamKeeper({ log: options.log, now: Date.now });
    this.#feed = new AttemptFeed(options.log);
  }

  /** Whether NATS answers and the streams are there. */
  get connected(): boolean {
    return this.#connected;
  }

  /** What keeps it from working now, in sentences for `/health/ready`; empty while `connected`. */
  get problems(): readonly string[] {
    return this.#connected ? [] : ['NATS is not connected'];
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    // A server that hangs in the middle of a login is not waited for; a connection that comes after all is closed.
    await atMost(STOP_MS, this.#running ?? Promise.resolve());
  }

  /** Resolves when JetStream has stored the message; rejects when it has not said so within 5 s, at once without NATS. */
  async publishDelivery(message: DeliveryMessage): Promise<void> {
    // While it is disconnected the client takes messages and drops them.
    if (this.#jetStream === undefined || !this.#connected) throw new Error('NATS is not connected');
    const bytes = encodeDeliveryMessage({ ...message, publishedAt: this.#now() });
    const published = this.#jetStream.publish(`deliveries.${message.subscriptionId}`, bytes, {
      msgID: messageId(message),
      timeout: ABANDON_MS,
    });
    // An answer that came while this process stood still counts: its message is stored, and may have been taken.
    await withinLoopTime(PUBLISH_TIMEOUT_MS, published);
  }

  /** Data up to this size goes with the messages of its deliveries. */
  get maxInlineDataBytes(): number {
    return Math.min(MAX_INLINE_DATA_BYTES, Math.floor((this.#connection?.info?.max_payload ?? 0) / 2));
  }

  /** Asks JetStream something; rejects when it does not answer within 5 s, at once without NATS. */
  async inspect<T>(ask: (jsm: JetStreamManager) => Promise<T>): Promise<T> {
    if (this.#connection === undefined) throw new Error('NATS is not connected');
    return ask(await this.#connection.jetstreamManager({ timeout: PUBLISH_TIMEOUT_MS }));
  }

  /** Whether a message of DELIVERIES can be believed that it was never delivered before, and is the only one. */
  isFirstDelivery(message: StreamMessage, published: Pick<PublishedDelivery, 'publishedAt'>): boolean {
    return this.#firstDeliveries.isFirst(message, published);
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
    const { log } = this.#options;
    const jetStream = () => (this.#connected ? this.#jetStream : undefined);
    await consume({ jetStream, log, quietMs: QUIET_MS }, options);
  }

  async #run(): Promise<void> {
    const { log } = this.#options;
    const { signal } = this.#stopping;
    for (let failures = 0; !signal.aborted; failures += 1) {
      try {
        await this.#connectOnce(signal);
        failures = 0;
      } catch (error) {
        // Once at first, then every half minute: an outage is no reason to flood the log.
        if (failures % 30 === 0) log.error({ err: error }, 'NATS cannot be reached; trying again every second');
        await pause(RETRY_MS, signal);
      }
    }
  }

  /** Returns when the connection has been closed for good. */
  async #connectOnce(signal: AbortSignal): Promise<void> {
    const connection = await connect(connectionOptions(this.#options.servers));
    const { version } = connection.info ?? {};
    if (judgeServerVersion(version) === 'too old') {
      await connection.close();
      throw new Error(`nats-server ${version ?? ''} is older than 2.9`);
    }
    this.#connection = connection;
    this.#jetStream = connection.jetstream({ timeout: PUBLISH_TIMEOUT_MS });
    const forget = whenAborted(signal, () => void this.#close(connection));
    this.#feed.receive(connection);
    this.#watchSender(connection);
    // Not awaited: the client never ends this iterator, not even when the connection closes.
    void this.#watchStatus(connection);
    this.#begin(connection);
    const error = await connection.closed();
    this.#end();
    forget();
    if (error !== undefined) throw error;
  }

  async #close(connection: NatsConnection): Promise<void> {
    const { log } = this.#options;
    try {
      // Draining needs the server; without it there is nobody to drain to.
      if (this.#connected) await atMost(DRAIN_MS, connection.drain());
      await connection.close();
    } catch (error) {
      log.debug({ err: error }, 'closing the NATS connection');
    }
  }

  async #watchStatus(connection: NatsConnection): Promise<void> {
    const { log } = this.#options;
    for await (const status of connection.status()) {
      if (status.type === Events.Disconnect) {
        this.#end();
        log.error('NATS is disconnected; reconnecting');
      } else if (status.type === Events.Reconnect) {
        log.info('NATS is connected again');
        this.#begin(connection);
      }
    }
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
    this.#firstDeliveries.suspectAll();
  }

  async #keepStreams(connection: NatsConnection, signal: AbortSignal): Promise<void> {
    const isOver = () => signal.aborted;
    for (let failures = 0; !isOver(); ) {
      try {
        await pause(await this.#checkStreams(connection, signal), signal);
        failures = 0;
      } catch (error) {
        if (isOver()) return;
        this.#connected = false;
        if (failures % 30 === 0) {
          this.#options.log.error({ err: error }, 'JetStream does not answer; trying again every second');
        }
        failures += 1;
        await pause(RETRY_MS, signal);
      }
    }
  }

  /** Returns after how many milliseconds to check again. */
  async #checkStreams(connection: NatsConnection, signal: AbortSignal): Promise<number> {
    const jsm = await connection.jetstreamManager({ timeout: PUBLISH_TIMEOUT_MS });
    const { created, nextInMs } = await this.#streams.check(jsm);
    if (created || !this.#connected || this.#firstDeliveries.suspectsAll) await this.#suspectStored(jsm, signal);
    if (this.#connected || signal.aborted) return nextInMs;
    this.#connected = true;
    const { version } = connection.info ?? {};
    this.#options.log.info({ server: version }, 'NATS is ready');
    this.#warnOf(version);
    this.#feed.gap();
    return nextInMs;
  }

  async #suspectStored(jsm: JetStreamManager, signal: AbortSignal): Promise<void> {
    const { state } = await jsm.streams.info('DELIVERIES');
    if (!signal.aborted) this.#firstDeliveries.believeAfter(state.last_seq);
  }

  /** Another process, or an operator, may create the sender's consumer again. */
  #watchSender(connection: NatsConnection): void {
    connection.subscribe(SENDER_CREATED, {
      callback: () => {
        this.#firstDeliveries.suspectAll();
        const { signal } = this.#period;
        // If it fails, everything is suspect until the next regular check.
        connection
          .jetstreamManager()
          .then((jsm) => this.#suspectStored(jsm, signal))
          .catch(() => undefined);
      },
    });
  }

  #warnOf(version: string | undefined): void {
    if (version === this.#warnedOf || judgeServerVersion(version) === 'sound') return;
    this.#warnedOf = version;
    this.#options.log.warn(
      { server: version },
      'nats-server before 2.12.5 can lose or strand messages when it is killed; they are found again, but later',
    );
  }
}
