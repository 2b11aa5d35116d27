import pg from 'pg';
import type { Logger } from 'pino';
import { atMost, pause } from '../pause.ts';

/** The triggers of that name notify of them, and tell-cancelled.ts. */
type NoticeChannel = 'webhook_subscription_changed' | 'api_key_revoked' | 'delivery_cancelled';

export type ChangeListenerOptions = {
  readonly url: string;
  readonly log: Logger;
  /** What to call with the id that a transaction notified of, once that is committed. */
  readonly onNotice: Readonly<Partial<Record<NoticeChannel, (id: string) => void>>>;
  /** Changes may have been missed: everything that is remembered may be stale. */
  readonly onGap: () => void;
};

const RETRY_MS = 1_000;

/** Listens to what transactions notify of, on a connection of its own. */
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
        this.#options.log.debug({ err: error }, 'not listening to changes');
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
      for (const [name, onNotice] of Object.entries(this.#options.onNotice)) if (name === channel) onNotice(payload);
    });
    try {
      await client.connect();
      for (const channel of Object.keys(this.#options.onNotice)) await client.query(`LISTEN ${channel}`);
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
