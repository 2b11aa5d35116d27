import type { NatsConnection, Subscription } from 'nats';
import type { Logger } from 'pino';
import type { Attempt } from '../generated/prisma/client.ts';
import type { NatsClient } from '../nats/connection.ts';
import { LogReaders } from './log-readers.ts';

export type CommittedAttempt = Attempt & {
  /** Whether it was committed long after its id was created: readers may have passed its position in the log. */
  readonly isLate?: boolean;
};

/** `previousId`: the attempt that the same process logged before this one, if any. */
export type AnnouncedAttempt = CommittedAttempt & { readonly previousId?: string | undefined };

export type AttemptWatcher = {
  readonly onAttempt: (attempt: AnnouncedAttempt) => void;
  /** Announcements may have been lost, for example because NATS was unavailable. */
  readonly onGap: () => void;
};

type AttemptFeedOptions = { readonly nats: NatsClient; readonly log: Logger };

/** Announces committed attempts to the processes with readers, at most once. The log in Postgres is the source of truth. */
export class AttemptFeed {
  readonly #options: AttemptFeedOptions;
  readonly #watchers = new Set<AttemptWatcher>();
  readonly #readers: LogReaders;
  #connection: NatsConnection | undefined;
  #subscription: Subscription | undefined;

  /** Create this before the client is started. */
  constructor(options: AttemptFeedOptions) {
    this.#options = options;
    this.#readers = new LogReaders(options);
    options.nats.listen({
      onOpen: (connection) => {
        this.#receive(connection);
      },
      // Subscribes again if nats-server denied it.
      onStreamsChecked: () => {
        this.#subscribe();
        return Promise.resolve();
      },
      onReady: () => {
        this.#gap();
      },
    });
  }

  /** Call this right after the commit. */
  announce(attempt: AnnouncedAttempt): void {
    const { nats, log } = this.#options;
    // Readers find other attempts in Postgres, but not one that is committed late.
    if (!nats.connected || !(this.#readers.exist || attempt.isLate === true)) return;
    try {
      nats.broadcast(nats.names.logSubject(attempt.tenant), Buffer.from(JSON.stringify(attempt)));
    } catch (error) {
      log.warn({ err: error }, 'announcing an attempt failed');
    }
  }

  /**
   * Calls the watcher for every attempt received from now on, until the returned function is called. Once the NATS
   * subscription is active, `onGap` is called.
   */
  watch(watcher: AttemptWatcher): () => void {
    this.#watchers.add(watcher);
    this.#subscribe();
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size > 0) return;
      this.#subscription?.unsubscribe();
      this.#subscription = undefined;
      this.#readers.end();
    };
  }

  /** Uses a new connection. Subscribes only while there are watchers, so that NATS sends no unused messages. */
  #receive(connection: NatsConnection): void {
    this.#connection = connection;
    this.#subscription = undefined;
    this.#subscribe();
  }

  #subscribe(): void {
    const connection = this.#connection;
    if (connection === undefined || connection.isClosed() || connection.isDraining()) return;
    if (this.#watchers.size === 0 || this.#subscription?.isClosed() === false) return;
    this.#subscription = connection.subscribe(this.#options.nats.names.allLogSubjects, {
      callback: (error, message) => {
        if (error !== null) {
          this.#options.log.error({ err: error }, 'live log subscription failed');
          return;
        }
        // An error thrown in a callback would stop the client from reading any message.
        try {
          const body = this.#options.nats.unseal('log', message);
          if (body === undefined) return;
          const attempt = parseAttempt(body.toString());
          for (const watcher of this.#watchers) watcher.onAttempt(attempt);
        } catch (cause) {
          this.#options.log.warn({ err: cause, subject: message.subject }, 'announced attempt unreadable');
        }
      },
    });
    this.#readers.begin();
    connection.flush().then(
      () => {
        this.#gap();
      },
      // The next connection reports a gap.
      () => undefined,
    );
  }

  #gap(): void {
    for (const watcher of this.#watchers) watcher.onGap();
  }
}

function parseAttempt(text: string): AnnouncedAttempt {
  // `as`: only announce() seals messages of these subjects. JSON has no dates.
  const attempt = JSON.parse(text) as AnnouncedAttempt;
  return { ...attempt, startedAt: new Date(attempt.startedAt) };
}
