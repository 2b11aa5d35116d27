import { FORGET_AFTER_MS, Heartbeat, type HeartbeatOptions } from '../nats/heartbeat.ts';

type LogReadersOptions = HeartbeatOptions & {
  /** In milliseconds; by default performance.now(). */
  readonly now?: () => number;
};

/**
 * Whether any process has readers of the live log. Without readers no attempt is announced, which saves a sender the
 * encoding and the traffic of each. A process has a heartbeat from its first reader to its last, and sends it at once when
 * the first one comes and after each reconnect. Attempts that are committed before a sender receives it are announcements
 * that got lost: readers find them in Postgres (ADR 9).
 */
export class LogReaders {
  readonly #heartbeat: Heartbeat;
  readonly #now: () => number;
  #heardAt = Number.NEGATIVE_INFINITY;

  /** To be created before the client is started. */
  constructor(options: LogReadersOptions) {
    this.#now = options.now ?? (() => performance.now());
    this.#heartbeat = new Heartbeat(options, {
      kind: 'readers',
      onBeat: () => {
        this.#heardAt = this.#now();
      },
      onReady: () => {
        if (this.#heartbeat.isRunning) this.#send();
      },
    });
  }

  get exist(): boolean {
    return this.#heartbeat.isRunning || this.#now() - this.#heardAt < FORGET_AFTER_MS;
  }

  /** This process has a reader, and has subscribed to announcements. */
  begin(): void {
    this.#heartbeat.start(() => {
      this.#send();
    });
    this.#send();
  }

  /** This process has no reader any more. */
  end(): void {
    this.#heartbeat.stop();
  }

  #send(): void {
    this.#heartbeat.send('reading');
  }
}
