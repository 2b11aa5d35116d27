import pg from 'pg';
import type { Logger } from 'pino';
import { atMost, pause } from '../pause.ts';

export type ChangeListenerOptions = {
  readonly url: string;
  readonly log: Logger;
  /** A webhook subscription, or its secrets, changed in a transaction that has been committed. */
  readonly onChange: (subscriptionId: string) => void;
  /** A user has cancelled a delivery. */
  readonly onCancel: (deliveryId: string) => void;
  /** Changes may have been missed: everything that is remembered may be stale. */
  readonly onGap: () => void;
};

const RETRY_MS = 1_000;

/** Listens to the notifications of the webhook_subscription_changed trigger, and of tell-cancelled.ts, on a connection of its own. */
export class ChangeListener {
  readonly #options: ChangeListenerOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: ChangeListenerOptions) {
    this.#options = options;
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
        this.#options.log.debug({ err: error }, 'not listening to changes of webhook subscriptions');
      }
      this.#options.onGap();
      await pause(RETRY_MS, signal);
    }
  }

  /** Returns or throws when the connection has ended. */
  async #listen(signal: AbortSignal): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#options.url,
      connectionTimeoutMillis: 5_000,
      query_timeout: 10_000,
      keepAlive: true,
      application_name: 'webhooks-engine changes',
    });
    let onAbort: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      client.on('end', resolve);
      client.on('error', () => {
        resolve();
      });
      onAbort = resolve;
    });
    signal.addEventListener('abort', onAbort);
    client.on('notification', ({ channel, payload = '' }) => {
      const { onCancel, onChange } = this.#options;
      (channel === 'delivery_cancelled' ? onCancel : onChange)(payload);
    });
    try {
      await client.connect();
      await client.query('LISTEN webhook_subscription_changed; LISTEN delivery_cancelled');
      this.#options.onGap();
      await ended;
    } finally {
      signal.removeEventListener('abort', onAbort);
      await atMost(
        1_000,
        client.end().catch(() => undefined),
      );
    }
  }
}
