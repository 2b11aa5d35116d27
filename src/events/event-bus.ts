import { connect, Events, type JetStreamClient, type JsMsg, type NatsConnection } from 'nats';
import type { Logger } from 'pino';
import type { Attempt } from '../generated/prisma/client.ts';
import { atMost, pause } from '../pause.ts';
import { type DeliveryMessage, encodeDeliveryMessage, MAX_INLINE_DATA_BYTES, messageId } from './delivery-message.ts';
import { serverOptions } from './server-options.ts';
import type { StreamMessage } from './stream-message.ts';
import { type Durable, StreamKeeper, streamOf } from './streams.ts';

export type EventBusOptions = {
  readonly servers: readonly string[];
  readonly log: Logger;
  /** Whether committed attempts are to be received for watchAttempts (the api role). */
  readonly receivesLog: boolean;
};

export type AttemptWatcher = {
  readonly onAttempt: (attempt: Attempt) => void;
  /** NATS was away: attempts may have been committed that were not announced. */
  readonly onGap: () => void;
};

export type ConsumeOptions = {
  readonly durable: Durable;
  /** At most so many messages are asked for ahead of being handled. */
  readonly maxMessages: number;
  /** Called one message at a time; the next one waits until it has settled. Must not throw. */
  readonly onMessage: (message: JsMsg) => Promise<void> | void;
  readonly signal: AbortSignal;
};

const CHECK_INTERVAL_MS = 30_000;
const RETRY_MS = 1_000;
const PUBLISH_TIMEOUT_MS = 5_000;
/** Half of the sender's ack wait. */
const MAX_FIRST_DELIVERY_AGE_MS = 30_000;

/**
 * The connection to NATS. It is started once, connects in the background for as long as it takes, reconnects by
 * itself, and checks its streams at every connection and every 30 s. While NATS is away, publishing rejects within 5 s
 * and consuming pauses.
 */
export class EventBus {
  readonly #options: EventBusOptions;
  readonly #stopping = new AbortController();
  readonly #streams: StreamKeeper;
  readonly #watchers = new Set<AttemptWatcher>();
  #connection: NatsConnection | undefined;
  #jetStream: JetStreamClient | undefined;
  #connected = false;
  /** Messages of DELIVERIES up to this sequence number may have been delivered before, whatever their count says. */
  #suspectUpTo = Number.POSITIVE_INFINITY;
  #running: Promise<void> | undefined;

  constructor(options: EventBusOptions) {
    this.#options = options;
    this.#streams = new StreamKeeper(options.log);
  }

  /** Whether NATS answers and the streams are there. */
  get connected(): boolean {
    return this.#connected;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Resolves when JetStream has stored the message; rejects when it has not said so within 5 s, at once without NATS. */
  async publishDelivery(message: DeliveryMessage): Promise<void> {
    // While it is disconnected the client takes messages and drops them.
    if (this.#jetStream === undefined || !this.#connected) throw new Error('NATS is not connected');
    await this.#jetStream.publish(`deliveries.${message.subscriptionId}`, encodeDeliveryMessage(message), {
      msgID: messageId(message),
      timeout: PUBLISH_TIMEOUT_MS,
    });
  }

  /** Data up to this size goes with the messages of its deliveries. */
  get maxInlineDataBytes(): number {
    return Math.min(MAX_INLINE_DATA_BYTES, Math.floor((this.#connection?.info?.max_payload ?? 0) / 2));
  }

  /** When the oldest message that is still in DELIVERIES was published; undefined if there is none. */
  async oldestDeliveryMessage(): Promise<Date | undefined> {
    if (this.#connection === undefined) throw new Error('NATS is not connected');
    const jsm = await this.#connection.jetstreamManager();
    const { state } = await jsm.streams.info('DELIVERIES');
    return state.messages === 0 ? undefined : new Date(state.first_ts);
  }

  /**
   * Whether a message of DELIVERIES that says it was never delivered can be believed: only if it was stored since we
   * have been connected to this broker. One that crashed may have forgotten its counts (measured on 2.9), and a
   * consumer that was created again starts counting anew. And only if it is young: one that has waited long in our own
   * buffer may have been redelivered to somebody else meanwhile.
   */
  isFirstDelivery({ redelivered, seq, info }: StreamMessage): boolean {
    const ageMs = Date.now() - info.timestampNanos / 1e6;
    return !redelivered && seq > this.#suspectUpTo && ageMs < MAX_FIRST_DELIVERY_AGE_MS;
  }

  /** Tells every api process about a committed attempt; nothing is promised, the log in Postgres is the truth. */
  announce(attempt: Attempt): void {
    if (!this.#connected) return;
    try {
      this.#connection?.publish(`log.${attempt.tenant}`, JSON.stringify(attempt));
    } catch (error) {
      this.#options.log.warn({ err: error }, 'an attempt was not announced');
    }
  }

  /** Tells the watcher of every attempt announced from now on, until the returned function is called. */
  watchAttempts(watcher: AttemptWatcher): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Hands over a consumer's messages until the signal aborts; what is buffered then is still handed over. */
  async consume({ durable, maxMessages, onMessage, signal }: ConsumeOptions): Promise<void> {
    const { log } = this.#options;
    while (!signal.aborted) {
      try {
        if (this.#jetStream === undefined || !this.#connected) throw new Error('NATS is not connected');
        const consumer = await this.#jetStream.consumers.get(streamOf(durable), durable);
        // `expires` also bounds how long a deleted and re-created consumer goes unnoticed.
        const messages = await consumer.consume({ max_messages: maxMessages, expires: 5_000 });
        const forget = whenAborted(signal, () => {
          messages.stop();
        });
        for await (const message of messages) await onMessage(message);
        forget();
      } catch (error) {
        log.debug({ err: error, consumer: durable }, 'not consuming');
      }
      await pause(RETRY_MS, signal);
    }
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
    const connection = await connect({
      ...serverOptions(this.#options.servers),
      name: 'webhooks-engine',
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      reconnectJitter: 250,
      // A connection that died without a word is noticed after half a minute.
      pingInterval: 10_000,
      maxPingOut: 3,
      // A password that was changed may be changed back; giving up would be for good.
      ignoreAuthErrorAbort: true,
      timeout: 5_000,
    });
    this.#connection = connection;
    this.#jetStream = connection.jetstream({ timeout: PUBLISH_TIMEOUT_MS });
    const forget = whenAborted(signal, () => void this.#close(connection));
    if (this.#options.receivesLog) this.#receiveLog(connection);
    const ended = new AbortController();
    // Not awaited: the client never ends this iterator, not even when the connection closes.
    void this.#watchStatus(connection);
    const watching = this.#keepStreams(connection, ended.signal);
    const error = await connection.closed();
    this.#connected = false;
    ended.abort();
    await watching;
    forget();
    if (error !== undefined) throw error;
  }

  async #close(connection: NatsConnection): Promise<void> {
    const { log } = this.#options;
    try {
      // Draining needs the server; without it there is nobody to drain to.
      if (this.#connected) await atMost(2_000, connection.drain());
      await connection.close();
    } catch (error) {
      log.debug({ err: error }, 'closing the NATS connection');
    }
  }

  async #watchStatus(connection: NatsConnection): Promise<void> {
    const { log } = this.#options;
    for await (const status of connection.status()) {
      if (status.type === Events.Disconnect) {
        this.#connected = false;
        this.#suspectUpTo = Number.POSITIVE_INFINITY;
        log.error('NATS is disconnected; reconnecting');
      } else if (status.type === Events.Reconnect) {
        log.info('NATS is connected again');
        // If it fails now, the next regular check tells.
        await this.#checkStreams(connection).catch(() => undefined);
      }
    }
  }

  async #keepStreams(connection: NatsConnection, signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      try {
        await this.#checkStreams(connection);
        failures = 0;
        await pause(CHECK_INTERVAL_MS, signal);
      } catch (error) {
        this.#connected = false;
        if (!connection.isClosed() && failures % 30 === 0) {
          this.#options.log.error({ err: error }, 'JetStream does not answer; trying again every second');
        }
        failures += 1;
        await pause(RETRY_MS, signal);
      }
    }
  }

  async #checkStreams(connection: NatsConnection): Promise<void> {
    const jsm = await connection.jetstreamManager({ timeout: PUBLISH_TIMEOUT_MS });
    const created = await this.#streams.check(jsm);
    if (created || !this.#connected) this.#suspectUpTo = (await jsm.streams.info('DELIVERIES')).state.last_seq;
    if (this.#connected) return;
    this.#connected = true;
    this.#options.log.info({ server: connection.info?.version }, 'NATS is ready');
    for (const watcher of this.#watchers) watcher.onGap();
  }

  #receiveLog(connection: NatsConnection): void {
    const { log } = this.#options;
    connection.subscribe('log.*', {
      callback: (error, message) => {
        if (error !== null) log.error({ err: error }, 'the live log cannot be received');
        else if (this.#watchers.size > 0) {
          const attempt = parseAttempt(message.string());
          for (const watcher of this.#watchers) watcher.onAttempt(attempt);
        }
      },
    });
  }
}

function parseAttempt(text: string): Attempt {
  // Only announce() writes these subjects; `as` because JSON has no dates.
  const attempt = JSON.parse(text) as Attempt;
  return { ...attempt, startedAt: new Date(attempt.startedAt) };
}

/** Calls `action` at once if the signal has aborted, else when it does, until the returned function is called. */
function whenAborted(signal: AbortSignal, action: () => void): () => void {
  if (signal.aborted) action();
  else signal.addEventListener('abort', action, { once: true });
  return () => {
    signal.removeEventListener('abort', action);
  };
}
