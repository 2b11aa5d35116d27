import type { Logger } from 'pino';
import type { NatsClient } from './connection.ts';

export type HeartbeatOptions = {
  readonly nats: Pick<NatsClient, 'names' | 'broadcast' | 'unseal' | 'listen'>;
  readonly log: Logger;
};

type HeartbeatRules = {
  /** Each kind has its own subject. */
  readonly kind: 'senders' | 'readers';
  /** Called with each heartbeat of any process, including this one. */
  readonly onBeat: (body: Buffer) => void;
  /** Called when NATS becomes available: earlier heartbeats of this and other processes may be lost. */
  readonly onReady: () => void;
};

const INTERVAL_MS = 2_000;
/** Milliseconds. A process whose last heartbeat is older is considered gone: three intervals and a tolerance of 1 s. */
export const HEARTBEAT_TIMEOUT_MS = 7_000;

/**
 * Messages over NATS core from which the processes of an installation, on any machine, learn which of them are alive.
 * They are sent every 2 s from `start` to `stop`, and at each call of `send`. Any of them can be lost.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions & HeartbeatRules;
  readonly #subject: string;
  #timer: NodeJS.Timeout | undefined;

  /** Call this before the client is started. */
  constructor(options: HeartbeatOptions, rules: HeartbeatRules) {
    this.#options = { ...options, ...rules };
    const { sendersSubject, readersSubject } = options.nats.names;
    this.#subject = rules.kind === 'senders' ? sendersSubject : readersSubject;
    options.nats.listen({
      subscription: {
        subject: this.#subject,
        onMessage: (message) => {
          const body = options.nats.unseal(rules.kind, message);
          if (body !== undefined) rules.onBeat(body);
        },
      },
      onReady: rules.onReady,
    });
  }

  get isRunning(): boolean {
    return this.#timer !== undefined;
  }

  /** Calls `beat`, which sends a message, every 2 s until `stop`. */
  start(beat: () => void): void {
    this.#timer ??= setInterval(beat, INTERVAL_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  send(body: string): void {
    const { nats, log, kind } = this.#options;
    try {
      nats.broadcast(this.#subject, Buffer.from(body));
    } catch (error) {
      log.debug({ err: error, kind }, 'heartbeat failed');
    }
  }
}
