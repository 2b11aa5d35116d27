import type { JsMsg } from 'nats';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { Batcher } from '../database/batcher.ts';
import type { Database } from '../database/client.ts';
import { isTimeout, isTransient } from '../database/errors.ts';
import { insertRejectedEvents, type NewRejectedEvent } from '../database/insert-rejected-events.ts';
import { type Queryable, transaction } from '../database/transaction.ts';
import { unattemptedDeliveries } from '../database/unattempted-deliveries.ts';
import { pause } from '../pause.ts';
import type { DeliveryMessage } from './delivery-message.ts';
import type { EventBus } from './event-bus.ts';
import { EventCatalogue } from './event-catalogue.ts';
import { type EventMetrics, eventMetrics } from './event-metrics.ts';
import { EventWriter, type MatchedEvent, warnOfSkipped } from './event-writer.ts';
import { createMessageCount } from './message-metrics.ts';
import { type ParsedEvent, parseEvent, type Rejection, rejectMismatch } from './parse-event.ts';
import { publishOrWait, toMessage } from './publish-deliveries.ts';
import { toPublishedMessage } from './published-message.ts';
import { putOff } from './refused-event.ts';
import { createRejectionLog } from './rejection-log.ts';

export type DispatcherOptions = {
  readonly database: Database;
  readonly bus: EventBus;
  readonly log: Logger;
  readonly metrics: Registry;
};

type JudgedEvents = { readonly rejections: readonly Rejection[]; readonly matched: readonly MatchedEvent[] };

type WrittenEvents = {
  readonly toPublish: readonly DeliveryMessage[];
  /** Those that had not been recorded before. */
  readonly rejected: readonly NewRejectedEvent[];
  readonly knownIds: readonly string[];
};

/** At most so many events, and so many bytes of them (or one event), in one transaction; so many are asked for ahead. */
const MAX_BATCH = 256;
const MAX_BATCH_BYTES = 8 * 1024 * 1024;
const RETRY_MS = 1_000;
/** So often a batch may fail while Postgres answers, before its events are tried one by one, and each set aside. */
const MAX_FAILURES = 3;

/**
 * Turns each event into one delivery per matching subscription: one transaction writes a batch of events and their
 * deliveries, then the deliveries' messages are published (what NATS does not take waits in Postgres for the sweeper),
 * and only then the events are acked. A crash at any line in between means that the events are redelivered; their ids
 * show what has been done.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #stopping = new AbortController();
  readonly #batcher: Batcher<JsMsg, void>;
  readonly #catalogue: EventCatalogue;
  readonly #writer: EventWriter;
  readonly #metrics: EventMetrics;
  readonly #logRejected: (rejected: readonly NewRejectedEvent[]) => void;
  #running: Promise<void> | undefined;
  /** Everything that has been begun. */
  #handling: Promise<unknown> = Promise.resolve();

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#catalogue = new EventCatalogue(options.log);
    this.#writer = new EventWriter(options.bus);
    this.#metrics = eventMetrics(options.metrics);
    this.#logRejected = createRejectionLog(options.log);
    this.#batcher = new Batcher<JsMsg, void>({
      maxItems: MAX_BATCH,
      maxBytes: MAX_BATCH_BYTES,
      bytesOf: ({ data }) => data.length,
      write: async (messages) => {
        await this.#begin(messages);
        return [];
      },
    });
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Finishes the batch in hand; what has not been started is redelivered later. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    let last: Promise<void> = Promise.resolve();
    const count = createMessageCount(this.#options.metrics, 'dispatcher');
    await this.#options.bus.consume({
      durable: 'dispatcher',
      maxMessages: MAX_BATCH,
      signal: this.#stopping.signal,
      onMessage: async (message) => {
        count(message);
        last = this.#batcher.add(message);
        if (this.#batcher.isFull) await last;
      },
    });
    await last;
    await this.#handling;
  }

  /** Resolves when the batch is written, or given up: its messages are published while the next one is being written. */
  #begin(messages: readonly JsMsg[]): Promise<void> {
    const before = this.#handling;
    return new Promise((resolve) => {
      const onWritten = async () => {
        // One batch at a time is published, so that no more than two are in hand.
        await before;
        resolve();
      };
      this.#handling = Promise.all([before, this.#handle(messages, onWritten)]).then(() => {
        resolve();
      });
    });
  }

  /** Tries until it has worked: while Postgres is away, events wait in JetStream. */
  async #handle(messages: readonly JsMsg[], onWritten?: () => Promise<void>): Promise<void> {
    const { log, database } = this.#options;
    let failuresOfItsOwn = 0;
    for (let failures = 0; ; failures += 1) {
      if (this.#stopping.signal.aborted && failures > 0) return;
      try {
        await this.#dispatch(messages, onWritten);
        for (const message of messages) message.ack();
        return;
      } catch (error) {
        this.#metrics.dispatchFailed();
        if (!isTransient(error) || isTimeout(error) || failuresOfItsOwn >= MAX_FAILURES) {
          await this.#handleRefusal(messages, error);
          return;
        }
        if (failures % 30 === 0)
          log.error({ err: error, events: messages.length }, 'events cannot be dispatched; trying again');
        const isAnswering = answers(database);
        await pause(RETRY_MS, this.#stopping.signal);
        if (isAnswering()) failuresOfItsOwn += 1;
      }
    }
  }

  /** One event that cannot be written must not hold up the others. */
  async #handleRefusal(messages: readonly JsMsg[], error: unknown): Promise<void> {
    const [first] = messages;
    if (messages.length > 1) {
      for (const message of messages) await this.#handle([message]);
    } else if (first !== undefined) {
      await putOff({ ...this.#options, metrics: this.#metrics }, { message: first, error });
    }
  }

  async #dispatch(messages: readonly JsMsg[], onWritten?: () => Promise<void>): Promise<void> {
    const begun = performance.now();
    const { pool } = this.#options.database;
    const parsed = messages.map((message) => parseEvent(toPublishedMessage(message)));
    const startedAt = Date.now();
    const judged = await this.#judge(pool, parsed);
    const { toPublish, rejected, knownIds } = await transaction(pool, (db) => this.#write(db, judged));
    this.#logRejected(rejected);
    for (const { reason } of rejected) this.#metrics.rejected(reason);
    this.#metrics.written('nats', { matched: judged.matched, isKnown: (id) => knownIds.includes(id) });
    await onWritten?.();
    await publishOrWait(this.#options, toPublish, startedAt);
    this.#metrics.dispatched({ events: messages.length, seconds: (performance.now() - begun) / 1_000 });
  }

  /** What takes time to think about is not done in a transaction: Postgres ends one that stands still. */
  async #judge(db: Queryable, parsed: readonly (ParsedEvent | Rejection)[]): Promise<JudgedEvents> {
    const events = parsed.filter((item) => item.kind === 'event');
    const mismatches = await this.#catalogue.findMismatches(db, events);
    const rejections = parsed.flatMap((item) => {
      if (item.kind === 'rejected') return [item];
      const mismatch = mismatches.get(item.id);
      return mismatch === undefined ? [] : [rejectMismatch(item, mismatch)];
    });
    const matched = await this.#writer.match(
      db,
      events.filter(({ id }) => !mismatches.has(id)),
    );
    return { rejections, matched };
  }

  async #write(db: Queryable, { rejections, matched }: JudgedEvents): Promise<WrittenEvents> {
    const rejected = rejections.length > 0 ? await insertRejectedEvents(db, rejections) : [];
    const { messages, knownIds } = await this.#writer.write(db, matched);
    warnOfSkipped(
      this.#options.log,
      matched.filter(({ event }) => !knownIds.includes(event.id)),
    );
    if (knownIds.length === 0) return { toPublish: messages, rejected, knownIds };
    // They were written before: a crash may have come between that and publishing their messages.
    this.#options.log.info({ events: knownIds.length }, 'events came again');
    const maxDataBytes = this.#options.bus.maxInlineDataBytes;
    const pending = await unattemptedDeliveries(db, { eventRowIds: knownIds, maxDataBytes });
    const again = pending.map((delivery) => toMessage(delivery));
    return { toPublish: [...messages, ...again], rejected, knownIds };
  }
}

/** Asks Postgres something that it has to have an answer to, and says whether that has come. */
function answers({ pool }: Database): () => boolean {
  let hasAnswered = false;
  pool.query('SELECT 1').then(
    () => {
      hasAnswered = true;
    },
    () => undefined,
  );
  return () => hasAnswered;
}
