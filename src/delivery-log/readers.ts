import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import type { NatsClient } from '../nats/connection.ts';

type LogReadersOptions = {
  readonly nats: Pick<NatsClient, 'names' | 'broadcast' | 'open' | 'listen'>;
  readonly log: Logger;
  /** In milliseconds; by default performance.now(). */
  readonly now?: () => number;
};

/** Interval at which a process with readers says so. */
const INTERVAL_MS = 2_000;
/** After this long without a message there is no reader: three intervals, and a moment. */
const FORGET_AFTER_MS = 7_000;

/**
 * Whether any process has readers of the live log. Without readers no attempt is announced, which saves a sender the
 * encoding and the traffic of each. A process sends a message over NATS core when its first reader comes, after each
 * reconnect, and every 2 s. Attempts that are committed before a sender receives it are announcements that got lost: readers
 * find them in Postgres (ADR 9).
 */
export class LogReaders {
  readonly #options: LogReadersOptions;
  readonly #now: () => number;
  #heardAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** To be created before the client is started. */
  constructor(options: LogReadersOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    options.nats.listen({
      onOpen: (connection) => {
        this.#receive(connection);
      },
      onReady: () => {
        if (this.#timer !== undefined) this.#send();
      },
    });
  }

  get exist(): boolean {
    return this.#timer !== undefined || this.#now() - this.#heardAt < FORGET_AFTER_MS;
  }

  /** This process has a reader, and has subscribed to announcements. */
  begin(): void {
    this.#timer ??= setInterval(() => {
      this.#send();
    }, INTERVAL_MS);
    this.#send();
  }

  /** This process has no reader any more. */
  end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #send(): void {
    const { nats, log } = this.#options;
    try {
      nats.broadcast(nats.names.readersSubject, Buffer.from('reading'));
    } catch (error) {
      log.debug({ err: error }, 'senders were not told of readers of the live log');
    }
  }

  #receive(connection: NatsConnection): void {
    const { nats, log } = this.#options;
    connection.subscribe(nats.names.readersSubject, {
      callback: (error, message) => {
        if (error !== null) log.warn({ err: error }, 'the subscription to readers of the live log failed');
        else if (nats.open('readers', message) !== undefined) this.#heardAt = this.#now();
      },
    });
  }
}
