import type { NatsConnection, Subscription } from 'nats';
import type { Logger } from 'pino';
import type { Attempt } from '../generated/prisma/client.ts';
import type { MessageSeal, NatsNames } from '../nats/names.ts';

export type CommittedAttempt = Attempt & {
  /** Committed long after its id was created: readers may have passed its position in the log. */
  readonly isLate?: boolean;
};

/** `previousId`: the attempt that the same process logged before this one, if any. */
export type AnnouncedAttempt = CommittedAttempt & { readonly previousId?: string | undefined };

export type AttemptWatcher = {
  readonly onAttempt: (attempt: AnnouncedAttempt) => void;
  /** Announcements may have been lost, for example because NATS was unavailable. */
  readonly onGap: () => void;
};

export type AttemptFeedOptions = {
  readonly names: NatsNames;
  readonly seal: MessageSeal;
  readonly log: Logger;
  /** Called with the subject of a message whose seal is invalid: no process of this engine published it. */
  readonly onForged: (subject: string) => void;
};

/** Announces committed attempts to all processes, at most once. The log in Postgres is the source of truth. */
export class AttemptFeed {
  readonly #options: AttemptFeedOptions;
  readonly #watchers = new Set<AttemptWatcher>();
  #connection: NatsConnection | undefined;
  #subscription: Subscription | undefined;

  constructor(options: AttemptFeedOptions) {
    this.#options = options;
  }

  /** Call this right after the commit. */
  announce(connection: NatsConnection | undefined, attempt: AnnouncedAttempt): void {
    try {
      const { names, seal } = this.#options;
      const subject = names.logSubject(attempt.tenant);
      connection?.publish(subject, seal.seal(subject, Buffer.from(JSON.stringify(attempt))));
    } catch (error) {
      this.#options.log.warn({ err: error }, 'announcing an attempt failed');
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
    };
  }

  /** Uses a new connection. Subscribes only while there are watchers, so that NATS sends no unused messages. */
  receive(connection: NatsConnection): void {
    this.#connection = connection;
    this.#subscription = undefined;
    this.#subscribe();
  }

  #subscribe(): void {
    const connection = this.#connection;
    if (connection === undefined || connection.isClosed() || connection.isDraining()) return;
    if (this.#watchers.size === 0 || this.#subscription !== undefined) return;
    this.#subscription = connection.subscribe(this.#options.names.allLogSubjects, {
      callback: (error, message) => {
        if (error !== null) {
          this.#options.log.error({ err: error }, 'live log subscription failed');
          return;
        }
        // An error thrown in a callback would stop the client from reading any message.
        try {
          const body = this.#options.seal.open(message.subject, message.data);
          if (body === undefined) {
            this.#options.onForged(message.subject);
            return;
          }
          const attempt = parseAttempt(body.toString());
          for (const watcher of this.#watchers) watcher.onAttempt(attempt);
        } catch (cause) {
          this.#options.log.warn({ err: cause, subject: message.subject }, 'announced attempt unreadable');
        }
      },
    });
    connection.flush().then(
      () => {
        this.gap();
      },
      // The next connection reports a gap.
      () => undefined,
    );
  }

  /** Call this when announcements may have been missed. */
  gap(): void {
    for (const watcher of this.#watchers) watcher.onGap();
  }
}

function parseAttempt(text: string): AnnouncedAttempt {
  // `as`: only announce() seals messages of these subjects. JSON has no dates.
  const attempt = JSON.parse(text) as AnnouncedAttempt;
  return { ...attempt, startedAt: new Date(attempt.startedAt) };
}
