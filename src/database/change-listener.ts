import pg from 'pg';
import type { Logger } from 'pino';
import { atMost, pause } from '../pause.ts';

export type ChangeListenerOptions = {
  readonly url: string;
  readonly log: Logger;
  /** Notified with the id of what changed, in a transaction that has been committed: by the trigger of that name. */
  readonly channel: 'webhook_subscription_changed' | 'api_key_revoked';
  readonly onChange: (id: string) => void;
  /** Changes may have been missed: everything that is remembered may be stale. */
  readonly onGap: () => void;
};

const RETRY_MS = 1_000;

/** Listens to the notifications of a trigger on a connection of its own. */
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
        const { log, channel } = this.#options;
        log.debug({ err: error, channel }, 'not listening to changes');
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
    client.on('notification', ({ payload }) => {
      this.#options.onChange(payload ?? '');
    });
    try {
      await client.connect();
      await client.query(`LISTEN ${this.#options.channel}`);
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
