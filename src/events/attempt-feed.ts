import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import type { Attempt } from '../generated/prisma/client.ts';

/** With the id of the attempt that the same process logged before it, if there is one. */
export type AnnouncedAttempt = Attempt & { readonly previousId?: string | undefined };

export type AttemptWatcher = {
  readonly onAttempt: (attempt: AnnouncedAttempt) => void;
  /** NATS was away: attempts may have been committed that were not announced. */
  readonly onGap: () => void;
};

/** Committed attempts, told from process to process; nothing is promised, the log in Postgres is the truth. */
export class AttemptFeed {
  readonly #log: Logger;
  readonly #watchers = new Set<AttemptWatcher>();

  constructor(log: Logger) {
    this.#log = log;
  }

  announce(connection: NatsConnection | undefined, attempt: AnnouncedAttempt): void {
    try {
      connection?.publish(`log.${attempt.tenant}`, JSON.stringify(attempt));
    } catch (error) {
      this.#log.warn({ err: error }, 'an attempt was not announced');
    }
  }

  /** Tells the watcher of every attempt that is received from now on, until the returned function is called. */
  watch(watcher: AttemptWatcher): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Receives what is announced as long as the connection lasts. */
  receive(connection: NatsConnection): void {
    connection.subscribe('log.*', {
      callback: (error, message) => {
        if (error !== null) this.#log.error({ err: error }, 'the live log cannot be received');
        else if (this.#watchers.size > 0) {
          const attempt = parseAttempt(message.string());
          for (const watcher of this.#watchers) watcher.onAttempt(attempt);
        }
      },
    });
  }

  /** To be called when attempts may have been missed. */
  gap(): void {
    for (const watcher of this.#watchers) watcher.onGap();
  }
}

function parseAttempt(text: string): AnnouncedAttempt {
  // Only announce() writes these subjects; `as` because JSON has no dates.
  const attempt = JSON.parse(text) as AnnouncedAttempt;
  return { ...attempt, startedAt: new Date(attempt.startedAt) };
}
