import type pg from 'pg';
import type { Logger } from 'pino';
import { FailureLog } from '../lib/failure-log.ts';
import { pause } from '../lib/waiting.ts';
import { openSession } from './connection.ts';
import { failureLevel } from './errors.ts';

/**
 * The triggers of the same name (prisma/migrations/0001_initial/migration.sql) notify the first two channels; changes of
 * a circuit or a pause (delivery/queue/state.ts, delivery/circuit/store.ts) also notify the first; delivery/queue/cancel.ts
 * notifies the third.
 */
type Channel = 'webhook_subscription_changed' | 'api_key_revoked' | 'delivery_cancelled';

export type NotificationListenerOptions = {
  readonly url: string;
  readonly log: Logger;
  readonly limits?: Partial<ListenerLimits>;
};

type Subscriber = {
  /** Called with the id in a notification, after its transaction has committed. */
  readonly onNotification: Readonly<Partial<Record<Channel, (id: string) => void>>>;
  /** Called when notifications may have been missed: the subscriber must discard or reload its caches. */
  readonly onGap: () => void;
};

type ListenerLimits = {
  /** Interval of the ping, in milliseconds. The ping detects a connection that died without a TCP reset. */
  readonly pingEveryMs: number;
  /** Time limit of each statement, in milliseconds. */
  readonly answerWithinMs: number;
};

const LIMITS: ListenerLimits = { pingEveryMs: 10_000, answerWithinMs: 5_000 };
const RETRY_MS = 1_000;

/**
 * Listens for the notifications of transactions, on a connection of its own for all parts of the process. Reconnects 1 s after
 * an error. Each part may call start() and stop().
 */
export class NotificationListener {
  readonly #options: NotificationListenerOptions;
  readonly #subscribers: Subscriber[] = [];
  readonly #failures: FailureLog;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: NotificationListenerOptions) {
    this.#options = options;
    this.#failures = new FailureLog(options.log, { work: 'listening for changes', levelOf: failureLevel });
  }

  /** Must be called before start(). */
  subscribe(subscriber: Subscriber): void {
    this.#subscribers.push(subscriber);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#listen(signal);
      } catch (error) {
        this.#failures.failed(error);
      }
      this.#notifyOfGap();
      await pause(RETRY_MS, signal);
    }
  }

  #notifyOfGap(): void {
    for (const { onGap } of this.#subscribers) onGap();
  }

  /** Returns or throws when the connection has ended or a ping fails. */
  async #listen(signal: AbortSignal): Promise<void> {
    const { url, limits } = this.#options;
    const { pingEveryMs, answerWithinMs } = { ...LIMITS, ...limits };
    const { client, close } = await openSession(url, {
      statementMs: answerWithinMs,
      answerMs: answerWithinMs,
      idleInTransactionMs: 0,
      name: 'webhooks-engine changes',
    });
    const ended = new AbortController();
    for (const event of ['end', 'error'] as const) {
      client.on(event, () => {
        ended.abort();
      });
    }
    client.on('notification', ({ channel, payload = '' }) => {
      // `as`: this connection listens to these channels only.
      for (const { onNotification } of this.#subscribers) onNotification[channel as Channel]?.(payload);
    });
    const channels = new Set(this.#subscribers.flatMap(({ onNotification }) => Object.keys(onNotification)));
    try {
      for (const channel of channels) await client.query(`LISTEN ${channel}`);
      this.#failures.succeeded();
      this.#notifyOfGap();
      const over = AbortSignal.any([signal, ended.signal]);
      for (;;) {
        await pause(pingEveryMs, over);
        if (over.aborted) return;
        await ping(client);
      }
    } finally {
      await close();
    }
  }
}

/** Rejects on a standby too: it sends no notifications, and a server can become a standby without closing connections. */
async function ping(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ isStandby: boolean }>('SELECT pg_is_in_recovery() AS "isStandby"');
  if (rows[0]?.isStandby !== false) throw new Error('Postgres is a standby');
}
