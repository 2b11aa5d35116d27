import { randomBytes, randomUUID } from 'node:crypto';
import type { Msg, NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { loopClock } from '../lib/event-loop.ts';
import { isObject } from '../lib/json.ts';
import { createLogThrottle } from '../lib/log.ts';
import type { NatsClient } from './connection.ts';

type RollCallOptions<T> = {
  readonly nats: Pick<NatsClient, 'names' | 'broadcast' | 'unseal' | 'listen' | 'connected' | 'problems'>;
  readonly log: Logger;
  /** Describes this process, within REPORT_MS. Its JSON has at most MAX_ANSWER_BYTES. */
  readonly report: () => Promise<T>;
  /** Checks the report of another process, which can have another version of the program. Throws if it is not valid. */
  readonly parse: (report: unknown) => T;
  /** In milliseconds; by default performance.now(). */
  readonly now?: () => number;
};

type RollCallEntry<T> = {
  readonly id: string;
  /** The last report of the process. */
  readonly report: T;
  readonly answeredMsAgo: number;
  /** Whether the process has answered this roll call. */
  readonly hasAnswered: boolean;
};

export type RollCallResult<T> = {
  /** Reasons why processes can be missing, in sentences that name no hosts or users. */
  readonly problems: readonly string[];
  /** This process, and every other one that has answered within FORGET_AFTER_MS and has not stopped since. */
  readonly entries: readonly RollCallEntry<T>[];
};

/** Time in which a process describes itself, in milliseconds. The rest of DEADLINE_MS is for the messages. */
export const REPORT_MS = 700;
/** A roll call ends after this many milliseconds, or earlier when every known process has answered. */
const DEADLINE_MS = 1_000;
/** It does not end before this many milliseconds, so that processes that are not known yet can answer. */
const SETTLE_MS = 250;
/** A process that has not said that it stops is listed for this many milliseconds after its last answer. */
const FORGET_AFTER_MS = 300_000;
/** Bounds memory, together with MAX_ANSWER_BYTES to 4 MiB. */
const MAX_PROCESSES = 256;
const MAX_ANSWER_BYTES = 16 * 1024;
/** Bounds the work for a client that publishes copies of a question. */
const MAX_ANSWERS_PER_SECOND = 50;
const LOG_INTERVAL_MS = 30_000;
/** The last token of the subject of questions and of farewells. Tokens of answers are longer. */
const ALL = 'all';
/** 16 random bytes in base64url. */
const TOKEN = /^[\w-]{22}$/;
const ID = /^[\w-]{1,64}$/;

type Known<T> = { readonly report: T; readonly answeredAt: number };

/**
 * Asks every process of the installation, on any machine, for a report, over NATS core. Nothing is sent until a process
 * asks. An answer has a subject with the random token of its question, which its seal covers: an old answer is never
 * taken for a new one.
 */
export class RollCall<T> {
  readonly #options: RollCallOptions<T>;
  readonly #id = randomUUID();
  readonly #now: () => number;
  /** The other processes that have answered, by id. */
  readonly #others = new Map<string, Known<T>>();
  readonly #refusals = createLogThrottle(LOG_INTERVAL_MS);
  #connection: NatsConnection | undefined;
  /** Whether this is the first question on the connection: no process is known yet, so it lasts until the deadline. */
  #isFirst = true;
  #asking: Promise<RollCallResult<T>> | undefined;
  #answers = { since: Number.NEGATIVE_INFINITY, count: 0 };
  #hasStopped = false;

  /** To be created before the client is started. */
  constructor(options: RollCallOptions<T>) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    options.nats.listen({
      onOpen: (connection) => {
        this.#connection = connection;
        this.#isFirst = true;
      },
      subscription: {
        subject: options.nats.names.processesSubject(ALL),
        onMessage: (message) => {
          this.#guard(null, () => {
            this.#onQuestion(message);
          });
        },
      },
    });
  }

  /** Resolves within about a second, also without NATS. Callers at the same time share one roll call. */
  ask(): Promise<RollCallResult<T>> {
    return (this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    }));
  }

  /** Other processes forget this one at once. To be called before the client is stopped. */
  stop(): Promise<void> {
    if (!this.#hasStopped) this.#send(ALL, { left: this.#id });
    this.#hasStopped = true;
    return Promise.resolve();
  }

  async #ask(): Promise<RollCallResult<T>> {
    const { nats } = this.#options;
    this.#forgetSilent();
    const [own, answered] = await Promise.all([this.#reportNow(), this.#collect()]);
    const now = this.#now();
    const entries = [[this.#id, own] as const, ...this.#others].map(([id, { report, answeredAt }]) => ({
      id,
      report,
      answeredMsAgo: now - answeredAt,
      hasAnswered: id === this.#id || answered.has(id),
    }));
    return { problems: nats.problems, entries };
  }

  async #reportNow(): Promise<Known<T>> {
    const report = await this.#options.report();
    return { report, answeredAt: this.#now() };
  }

  /** Asks all processes, and resolves with the ids of those that answered in time. Later answers count for the next roll call. */
  #collect(): Promise<ReadonlySet<string>> {
    const { names, connected } = this.#options.nats;
    const connection = this.#connection;
    const answered = new Set<string>();
    if (connection === undefined || !connected || connection.isClosed() || connection.isDraining()) {
      return Promise.resolve(answered);
    }
    const missing = new Set(this.#others.keys());
    const token = randomBytes(16).toString('base64url');
    const settleMs = this.#isFirst ? DEADLINE_MS : SETTLE_MS;
    this.#isFirst = false;
    return new Promise((resolve) => {
      let isSettled = false;
      const endIfComplete = () => {
        if (isSettled && missing.size === 0) resolve(answered);
      };
      const onAnswer = (message: Msg) => {
        const id = this.#noteAnswer(message);
        if (id === undefined) return;
        answered.add(id);
        missing.delete(id);
        endIfComplete();
      };
      const subscription = connection.subscribe(names.processesSubject(token), {
        max: MAX_PROCESSES,
        callback: (error, message) => {
          this.#guard(error, () => {
            onAnswer(message);
          });
        },
      });
      loopClock.after(settleMs, () => {
        isSettled = true;
        endIfComplete();
      });
      loopClock.after(DEADLINE_MS, () => {
        subscription.unsubscribe();
        resolve(answered);
      });
      this.#send(ALL, { from: this.#id, token });
    });
  }

  #onQuestion(message: Msg): void {
    const body = this.#read(message);
    if (body === undefined) return;
    const { from, token, left } = body;
    if (typeof left === 'string') this.#others.delete(left);
    else if (typeof token !== 'string' || !TOKEN.test(token)) throw new Error('a question without a token');
    else if (from !== this.#id && !this.#hasStopped && this.#mayAnswer()) void this.#answer(token);
  }

  async #answer(token: string): Promise<void> {
    try {
      const report = await this.#options.report();
      if (!this.#hasStopped) this.#send(token, { id: this.#id, report });
    } catch (error) {
      this.#refuse(error);
    }
  }

  #mayAnswer(): boolean {
    const now = this.#now();
    if (now - this.#answers.since >= 1_000) this.#answers = { since: now, count: 0 };
    this.#answers.count += 1;
    return this.#answers.count <= MAX_ANSWERS_PER_SECOND;
  }

  /** The id of the process; undefined if the message does not count, or if there are too many processes. */
  #noteAnswer(message: Msg): string | undefined {
    const body = this.#read(message);
    if (body === undefined) return undefined;
    const { id, report } = body;
    if (typeof id !== 'string' || !ID.test(id) || id === this.#id) throw new Error('an answer without an id');
    if (!this.#others.has(id) && this.#others.size >= MAX_PROCESSES - 1) return undefined;
    this.#others.set(id, { report: this.#options.parse(report), answeredAt: this.#now() });
    return id;
  }

  #forgetSilent(): void {
    const oldest = this.#now() - FORGET_AFTER_MS;
    for (const [id, { answeredAt }] of this.#others) if (answeredAt < oldest) this.#others.delete(id);
  }

  /** The object in a sealed message; undefined, counted and logged, if no process with our key has sealed it. */
  #read(message: Msg): Readonly<Record<string, unknown>> | undefined {
    if (message.data.length > MAX_ANSWER_BYTES) throw new Error('a message that is too large');
    const body = this.#options.nats.unseal('processes', message);
    if (body === undefined) return undefined;
    const value: unknown = JSON.parse(body.toString());
    if (!isObject(value)) throw new Error('a message that is no object');
    return value;
  }

  #send(token: string, body: object): void {
    const { nats, log } = this.#options;
    try {
      nats.broadcast(nats.names.processesSubject(token), Buffer.from(JSON.stringify(body)));
    } catch (error) {
      log.debug({ err: error }, 'message of a roll call not sent');
    }
  }

  /** An error thrown in a callback would stop the client from reading any message. */
  #guard(error: Error | null, action: () => void): void {
    try {
      if (error !== null) throw error;
      action();
    } catch (cause) {
      this.#refuse(cause);
    }
  }

  #refuse(error: unknown): void {
    const count = this.#refusals.note();
    if (count !== undefined) this.#options.log.warn({ err: error, count }, 'message of a roll call dropped');
  }
}
