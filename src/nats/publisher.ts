import { type ApiError, createInbox, ErrorCode, headers, type Msg, type NatsConnection, NatsError } from 'nats';
import { loopClock } from '../lib/event-loop.ts';
import type { Denial } from './refusal.ts';

/** JetStream has not answered in time. The message may be stored, now or later. */
export class NoAnswerError extends Error {}

/** Publications within this number of milliseconds share a timer. */
const SHARED_TIMER_MS = 50;
const MSG_ID = 'Nats-Msg-Id';

type Publication = {
  readonly subject: string;
  readonly timer: SharedTimer;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
};

type SharedTimer = { readonly startedAt: number; users: number; readonly stop: () => void };

/**
 * Publishes to JetStream on one connection. One inbox receives all acknowledgements. The client's own publish sends a
 * request per publication, each of which creates an error with a stack, even on success, and starts a timer.
 */
export class JetStreamPublisher {
  readonly #connection: NatsConnection;
  readonly #timeoutMs: number;
  readonly #inbox: string;
  readonly #open = new Map<string, Publication>();
  #isSubscribed = false;
  #count = 0;
  #timer: SharedTimer | undefined;

  constructor(connection: NatsConnection, inboxPrefix: string, timeoutMs: number) {
    this.#connection = connection;
    this.#timeoutMs = timeoutMs;
    this.#inbox = `${createInbox(inboxPrefix)}.`;
  }

  /**
   * Resolves when the message is stored, or was stored before with the same `msgID`. Rejects with a NatsError when it
   * is refused. Without an answer in time, rejects with a NoAnswerError; the message may be stored.
   */
  publish(subject: string, body: Uint8Array, msgID: string): Promise<void> {
    this.#subscribe();
    this.#count += 1;
    const token = String(this.#count);
    const header = headers();
    header.set(MSG_ID, msgID);
    return new Promise((resolve, reject) => {
      this.#connection.publish(subject, body, { headers: header, reply: this.#inbox + token });
      const timer = this.#startTimer();
      this.#open.set(token, { subject, timer, resolve, reject });
    });
  }

  /** Rejects a publication that the server has denied: the server reports this on the connection, not to the inbox. */
  refuse({ operation, subject }: Denial): void {
    if (operation !== 'publish') return;
    for (const [token, publication] of this.#open) {
      if (publication.subject !== subject) continue;
      const error = NatsError.errorForCode(ErrorCode.PermissionsViolation);
      error.permissionContext = { operation, subject };
      this.#settle(token)?.reject(error);
      return;
    }
  }

  /** Rejects all unanswered publications, because the connection is closed. */
  close(): void {
    this.#rejectAll(new NoAnswerError('the connection to NATS was closed'));
  }

  #subscribe(): void {
    if (this.#isSubscribed) return;
    this.#isSubscribed = true;
    this.#connection.subscribe(`${this.#inbox}*`, {
      callback: (error, message) => {
        if (error === null) {
          this.#noteAnswer(message);
          return;
        }
        this.#isSubscribed = false;
        this.#rejectAll(error);
      },
    });
  }

  #noteAnswer(message: Msg): void {
    const publication = this.#settle(message.subject.slice(this.#inbox.length));
    if (publication === undefined) return;
    const refusal = refusalOf(message);
    if (refusal === undefined) publication.resolve();
    else publication.reject(refusal);
  }

  #settle(token: string): Publication | undefined {
    const publication = this.#open.get(token);
    if (publication === undefined) return undefined;
    this.#open.delete(token);
    const { timer } = publication;
    timer.users -= 1;
    if (timer.users === 0) {
      timer.stop();
      if (this.#timer === timer) this.#timer = undefined;
    }
    return publication;
  }

  #startTimer(): SharedTimer {
    const now = performance.now();
    if (this.#timer === undefined || now - this.#timer.startedAt > SHARED_TIMER_MS) {
      const timer: SharedTimer = {
        startedAt: now,
        users: 0,
        stop: loopClock.after(this.#timeoutMs, () => {
          const error = new NoAnswerError(`no answer within ${this.#timeoutMs} ms`);
          this.#rejectAll(error, (publication) => publication.timer === timer);
        }),
      };
      this.#timer = timer;
    }
    this.#timer.users += 1;
    return this.#timer;
  }

  #rejectAll(error: Error, isMeant: (publication: Publication) => boolean = () => true): void {
    for (const [token, publication] of this.#open) {
      if (isMeant(publication)) this.#settle(token)?.reject(error);
    }
  }
}

/** Returns why JetStream refused the message; undefined if it stored it. */
function refusalOf(message: Msg): Error | undefined {
  if (message.data.length === 0) return NatsError.errorForCode(ErrorCode.NoResponders);
  try {
    const { error } = message.json<{ readonly error?: ApiError }>();
    if (error === undefined) return undefined;
    const refusal = new NatsError(error.description, String(error.code));
    refusal.api_error = error;
    return refusal;
  } catch (error) {
    return new Error('the answer of JetStream cannot be read', { cause: error });
  }
}
