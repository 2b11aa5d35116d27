import { HEARTBEAT_TIMEOUT_MS, Heartbeat, type HeartbeatOptions } from '../nats/heartbeat.ts';

type LogReadersOptions = HeartbeatOptions & {
  /** Returns milliseconds; by default performance.now(). */
  readonly now?: () => number;
};

/**
 * Knows whether any process has readers of the live log. Without readers no attempt is announced, which saves a sender
 * the encoding and the traffic. A process sends heartbeats from its first reader to its last: at once when the first
 * reader connects, and after each reconnect. Attempts that are committed before a sender receives the heartbeat count
 * as lost announcements: readers find them in Postgres (ADR 9).
 */
export class LogReaders {
  readonly #heartbeat: Heartbeat;
  readonly #now: () => number;
  #heardAt = Number.NEGATIVE_INFINITY;

  /** Create this before the client is started. */
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
    return this.#heartbeat.isRunning || this.#now() - this.#heardAt < HEARTBEAT_TIMEOUT_MS;
  }

  /** Call this when the process has its first reader and has subscribed to announcements. */
  begin(): void {
    this.#heartbeat.start(() => {
      this.#send();
    });
    this.#send();
  }

  /** Call this when the process has no reader any longer. */
  end(): void {
    this.#heartbeat.stop();
  }

  #send(): void {
    this.#heartbeat.send('reading');
  }
}
