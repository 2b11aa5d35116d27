import type { NatsConnection, Subscription } from 'nats';
import type { Logger } from 'pino';
import type { Attempt } from '../generated/prisma/client.ts';
import type { MessageSeal, NatsNames } from '../nats/names.ts';

export type CommittedAttempt = Attempt & {
  /** It was committed long after its id was made, when readers may have taken everything up to it for seen. */
  readonly isLate?: boolean;
};

/** With the id of the attempt that the same process logged before it, if there is one. */
export type AnnouncedAttempt = CommittedAttempt & { readonly previousId?: string | undefined };

export type AttemptWatcher = {
  readonly onAttempt: (attempt: AnnouncedAttempt) => void;
  /** NATS was away: attempts may have been committed that were not announced. */
  readonly onGap: () => void;
};

export type AttemptFeedOptions = {
  readonly names: NatsNames;
  readonly seal: MessageSeal;
  readonly log: Logger;
  /** Called with the subject of a message that no process of ours has published. */
  readonly onForged: (subject: string) => void;
};

/** Committed attempts, told from process to process; nothing is promised, the log in Postgres is the truth. */
export class AttemptFeed {
  readonly #options: AttemptFeedOptions;
  readonly #watchers = new Set<AttemptWatcher>();
  #connection: NatsConnection | undefined;
  #subscription: Subscription | undefined;

  constructor(options: AttemptFeedOptions) {
    this.#options = options;
  }

  /** To be called right after the commit. */
  announce(connection: NatsConnection | undefined, attempt: AnnouncedAttempt): void {
    try {
      const { names, seal } = this.#options;
      const subject = names.logSubject(attempt.tenant);
      connection?.publish(subject, seal.seal(subject, Buffer.from(JSON.stringify(attempt))));
    } catch (error) {
      this.#options.log.warn({ err: error }, 'an attempt was not announced');
    }
  }

  /**
   * Tells the watcher of every attempt that is received from now on, until the returned function is called. The first one
   * is told of a gap when the subscription is in force.
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

  /** Receives what is announced, as long as somebody watches: else it would be sent here for nothing. */
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
          this.#options.log.error({ err: error }, 'the live log cannot be received');
          return;
        }
        // What is thrown in here ends the client's reading, of everything.
        try {
          const body = this.#options.seal.open(message.subject, message.data);
          if (body === undefined) {
            this.#options.onForged(message.subject);
            return;
          }
          const attempt = parseAttempt(body.toString());
          for (const watcher of this.#watchers) watcher.onAttempt(attempt);
        } catch (cause) {
          this.#options.log.warn({ err: cause, subject: message.subject }, 'an announced attempt could not be read');
        }
      },
    });
    connection.flush().then(
      () => {
        this.gap();
      },
      // Whoever connects again says that there was a gap.
      () => undefined,
    );
  }

  /** To be called when attempts may have been missed. */
  gap(): void {
    for (const watcher of this.#watchers) watcher.onGap();
  }
}

function parseAttempt(text: string): AnnouncedAttempt {
  // Only announce() seals messages of these subjects; `as` because JSON has no dates.
  const attempt = JSON.parse(text) as AnnouncedAttempt;
  return { ...attempt, startedAt: new Date(attempt.startedAt) };
}
