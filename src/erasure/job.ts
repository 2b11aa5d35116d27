import type { StoredMsg } from 'nats';
import type { Logger } from 'pino';
import { decodeDeliveryMessage } from '../delivery/queue/message.ts';
import { fromStoredMessage, parseEvent } from '../events/parse.ts';
import { Loop } from '../lib/loop.ts';
import { CLOCK_DRIFT_MS, LEAST_UUID, uuid7Time } from '../lib/uuid7.ts';
import { pause } from '../lib/waiting.ts';
import type { NatsClient } from '../nats/connection.ts';
import { eraseMessages, sequenceBefore } from '../nats/erase.ts';
import type { Database, Queryable } from '../postgres/client.ts';
import { withConnection } from '../postgres/connection.ts';
import { failureLevel } from '../postgres/errors.ts';
import { closeTenant, eraseResponseBodies, lastRows, recipientsOf, subscriptionsAfter, tenantRows } from './rows.ts';

type ErasureJobOptions = {
  readonly database: Pick<Database, 'pool'>;
  /** Connects directly to Postgres, without a pooler: the job holds a session-level lock. */
  readonly databaseUrl: string;
  readonly nats: Pick<NatsClient, 'names' | 'unseal' | 'withJetStreamManager'>;
  readonly log: Logger;
  /** Milliseconds of work on one erasure before the next erasure is processed. Default: STEP_MS. */
  readonly stepMs?: number;
};

/** Arbitrary advisory-lock key. Never change it. */
const ERASURE_LOCK = 8_113_407;
/** Milliseconds between two checks for erasures. */
const IDLE_MS = 2_000;
/**
 * Milliseconds between the two rounds of an erasure. Longer than an attempt, and longer than a dispatcher holds an
 * event in memory while Postgres is available.
 */
const SETTLE_MS = 300_000;
const RETRY_MS = 5_000;
const STEP_MS = 5_000;
/** Milliseconds between two batches, so that deliveries of other tenants have priority. */
const PAUSE_MS = 20;
const MESSAGES = 500;
/** The second round deletes rows and messages that were written during the first. */
const ROUNDS = 2;

/**
 * Carries out erasures in batches, in one process at a time. Tenants take turns, one step each, so that many redactions of
 * one tenant do not delay other erasures. Deletions are repeatable, so after a crash a round continues with the remaining
 * rows and messages.
 */
export class ErasureJob extends Loop {
  readonly #options: ErasureJobOptions;
  /** The tenant of the last step. */
  #lastTenant = '';

  constructor(options: ErasureJobOptions) {
    super({ log: options.log, work: 'erasure', retryMs: RETRY_MS, levelOf: failureLevel });
    this.#options = options;
  }

  protected async round(signal: AbortSignal): Promise<number> {
    const { database, databaseUrl } = this.#options;
    if ((await this.#next(database.pool)) === undefined) return IDLE_MS;
    return withConnection(databaseUrl, async (db) => {
      const { rows } = await db.query<{ isLocked: boolean }>('SELECT pg_try_advisory_lock($1) AS "isLocked"', [
        ERASURE_LOCK,
      ]);
      if (rows[0]?.isLocked !== true) return IDLE_MS;
      for (
        let erasure = await this.#next(db);
        erasure !== undefined && !signal.aborted;
        erasure = await this.#next(db)
      ) {
        this.#lastTenant = erasure.tenant;
        await this.#step(db, { erasure, signal });
      }
      return IDLE_MS;
    });
  }

  /** The due erasure of the tenant whose turn it is, in the order of the tenants' names. */
  async #next(db: Queryable): Promise<DueErasure | undefined> {
    return (await dueErasure(db, this.#lastTenant)) ?? dueErasure(db, '');
  }

  /** Works on one erasure until its round is complete or its time is used up. */
  async #step(db: Queryable, { erasure, signal }: { readonly erasure: DueErasure; readonly signal: AbortSignal }) {
    const { nats, log, stepMs = STEP_MS } = this.#options;
    const step = new ErasureStep(db, { erasure, nats, signal, stepMs });
    try {
      const isComplete =
        erasure.eventRowId === null ? await step.eraseTenant() : await step.eraseEvent(erasure.eventRowId);
      const { rows: deletedRows, messages: deletedMessages } = step;
      await saveStep(db, { erasure, step, isRoundComplete: isComplete, waitMs: isComplete ? SETTLE_MS : 0 });
      const isLast = isComplete && erasure.roundCount + 1 >= ROUNDS;
      if (isLast) log.info({ erasureId: erasure.id, deletedRows, deletedMessages }, 'erasure completed');
    } catch (error) {
      log.warn({ err: error, erasureId: erasure.id }, 'erasure failed; retrying');
      // Other erasures continue in the meantime.
      await saveStep(db, { erasure, step, isRoundComplete: false, waitMs: RETRY_MS });
    }
  }
}

type DueErasure = {
  readonly id: string;
  readonly tenant: string;
  readonly eventRowId: string | null;
  readonly roundCount: number;
  readonly subscriptionId: string | null;
  /** A bigint of Postgres. */
  readonly afterSequence: string;
};

/**
 * The erasure of the next tenant with a due one: that of the whole tenant, otherwise the redaction that has waited longest.
 */
async function dueErasure(db: Queryable, afterTenant: string): Promise<DueErasure | undefined> {
  const { rows } = await db.query<DueErasure>(
    `SELECT id, tenant, event_row_id AS "eventRowId", round_count AS "roundCount", subscription_id AS "subscriptionId",
       after_sequence AS "afterSequence"
     FROM erasures WHERE status = 'RUNNING' AND next_step_at <= now() AND tenant > $1
     ORDER BY tenant, event_row_id IS NOT NULL, next_step_at LIMIT 1`,
    [afterTenant],
  );
  return rows[0];
}

type StepResult = {
  readonly erasure: DueErasure;
  readonly step: Pick<ErasureStep, 'rows' | 'messages' | 'subscriptionId' | 'afterSequence'>;
  readonly isRoundComplete: boolean;
  /** Milliseconds until the next step. */
  readonly waitMs: number;
};

async function saveStep(db: Queryable, { erasure, step, isRoundComplete, waitMs }: StepResult): Promise<void> {
  const isLast = isRoundComplete && erasure.roundCount + 1 >= ROUNDS;
  await db.query(
    `UPDATE erasures SET deleted_row_count = deleted_row_count + $2, deleted_message_count = deleted_message_count + $3,
       round_count = round_count + $4::boolean::integer, after_sequence = CASE WHEN $4 THEN 0 ELSE $5::bigint END,
       subscription_id = CASE WHEN NOT $4 THEN $8::uuid END,
       next_step_at = now() + $6::integer * interval '1 ms',
       status = CASE WHEN $7::boolean THEN 'COMPLETED' ELSE status END,
       completed_at = CASE WHEN $7 THEN now() END
     WHERE id = $1`,
    [erasure.id, step.rows, step.messages, isRoundComplete, step.afterSequence, waitMs, isLast, step.subscriptionId],
  );
}

type StepOptions = {
  readonly erasure: DueErasure;
  readonly nats: ErasureJobOptions['nats'];
  readonly signal: AbortSignal;
  readonly stepMs: number;
};

/** The messages to compare, beginning after `ErasureStep.afterSequence`. */
type Search = { readonly stream: string; readonly subject: string; readonly matches: (message: StoredMsg) => boolean };

/** One step of an erasure. Its methods return false when the time of the step is used up. */
class ErasureStep {
  rows = 0;
  messages = 0;
  /**
   * Redaction: the subscription whose messages of an event are compared (null: the event's own messages), and the sequence
   * number of the last compared message. Erasure of a tenant: the last subscription whose messages are deleted. The next
   * step continues there.
   */
  subscriptionId: string | null;
  afterSequence: number;
  readonly #db: Queryable;
  readonly #options: StepOptions;
  readonly #until: number;

  constructor(db: Queryable, options: StepOptions) {
    this.#db = db;
    this.#options = options;
    this.#until = performance.now() + options.stepMs;
    this.subscriptionId = options.erasure.subscriptionId;
    this.afterSequence = Number(options.erasure.afterSequence);
  }

  async eraseTenant(): Promise<boolean> {
    const { tenant, roundCount } = this.#options.erasure;
    const { events, eventSubject } = this.#options.nats.names;
    if (!(await this.#deleteRows(closeTenant))) return false;
    if (!(await this.#deleteAll(events.stream, eventSubject(tenant, '>')))) return false;
    if (!(await this.#deleteDeliveryMessages(tenant))) return false;
    if (!(await this.#deleteRows(tenantRows))) return false;
    return roundCount + 1 < ROUNDS || this.#deleteRows(lastRows);
  }

  /**
   * Deletes the messages of each subscription in DELIVERIES once in a round, in the order of the ids. A subscription that is
   * created meanwhile has a greater id.
   */
  async #deleteDeliveryMessages(tenant: string): Promise<boolean> {
    const { deliveries, deliverySubject } = this.#options.nats.names;
    for (;;) {
      const ids = await subscriptionsAfter(this.#db, { tenant, id: this.subscriptionId ?? LEAST_UUID });
      if (ids.length === 0) return true;
      for (const id of ids) {
        if (!(await this.#deleteAll(deliveries.stream, deliverySubject(id)))) return false;
        this.subscriptionId = id;
        if (this.#isOver()) return false;
      }
    }
  }

  /** Deletes messages of EVENTS, then those of DELIVERIES, one subscription after the other in the order of their ids. */
  async eraseEvent(eventRowId: string): Promise<boolean> {
    const { erasure, nats } = this.#options;
    this.rows += await eraseResponseBodies(this.#db, eventRowId);
    const { rows } = await this.#db.query<{ eventId: string; type: string }>(
      'SELECT event_id AS "eventId", type FROM events WHERE id = $1::uuid',
      [eventRowId],
    );
    const [event] = rows;
    if (event === undefined) return true;
    const { events, deliveries, eventSubject, deliverySubject } = nats.names;
    const timeMs = uuid7Time(eventRowId);
    if (this.subscriptionId === null) {
      if (this.afterSequence === 0) this.afterSequence = await this.#sequenceBefore(events.stream, timeMs);
      const matches = (message: StoredMsg) => eventIdOf(message, nats.names) === event.eventId;
      const subject = eventSubject(erasure.tenant, event.type);
      if (!(await this.#deleteMatching({ stream: events.stream, subject, matches }))) return false;
    }
    const { stream } = deliveries;
    const matches = (message: StoredMsg) =>
      isOfEvent(message, { nats, tenant: erasure.tenant, eventId: event.eventId });
    const recipients = await recipientsOf(this.#db, eventRowId);
    const first = recipients.length === 0 ? 0 : await this.#sequenceBefore(stream, timeMs - CLOCK_DRIFT_MS);
    for (const id of recipients.filter((recipient) => recipient >= (this.subscriptionId ?? ''))) {
      if (id !== this.subscriptionId) {
        this.afterSequence = first;
        this.subscriptionId = id;
        // The next step begins with this subscription.
        if (this.#isOver()) return false;
      }
      if (!(await this.#deleteMatching({ stream, subject: deliverySubject(id), matches }))) return false;
    }
    return true;
  }

  #sequenceBefore(stream: string, timeMs: number): Promise<number> {
    return this.#options.nats.withJetStreamManager((jsm) => sequenceBefore(jsm, { stream, timeMs }));
  }

  async #deleteRows(deletions: typeof tenantRows): Promise<boolean> {
    const { erasure, signal } = this.#options;
    for (const deletion of deletions) {
      for (;;) {
        const { count, isDone } = await deletion(this.#db, erasure.tenant);
        this.rows += count;
        if (isDone) break;
        if (this.#isOver()) return false;
        await pause(PAUSE_MS, signal);
      }
    }
    return true;
  }

  /** Deletes every message of a subject. The next step starts again with the remaining messages. */
  async #deleteAll(stream: string, subject: string): Promise<boolean> {
    this.afterSequence = 0;
    return this.#deleteMatching({ stream, subject, matches: () => true });
  }

  async #deleteMatching(search: Search): Promise<boolean> {
    for (;;) {
      const request = { ...search, afterSequence: this.afterSequence, limit: MESSAGES };
      const { count, lastSequence, isDone } = await this.#options.nats.withJetStreamManager((jsm) =>
        eraseMessages(jsm, request),
      );
      this.messages += count;
      this.afterSequence = lastSequence;
      if (isDone) return true;
      if (this.#isOver()) return false;
    }
  }

  #isOver(): boolean {
    return this.#options.signal.aborted || performance.now() > this.#until;
  }
}

/** The id of the event in a message of EVENTS, as the dispatcher derives it; undefined if the message contains no event. */
function eventIdOf(message: StoredMsg, names: NatsClient['names']): string | undefined {
  const parsed = parseEvent(fromStoredMessage(message), names);
  return parsed.kind === 'event' ? parsed.eventId : undefined;
}

type OfEvent = { readonly nats: StepOptions['nats']; readonly tenant: string; readonly eventId: string };

/** Whether a message of DELIVERIES is one of this event. */
function isOfEvent(message: StoredMsg, { nats, tenant, eventId }: OfEvent): boolean {
  const body = nats.unseal('deliveries', message);
  if (body === undefined) return false;
  try {
    const delivery = decodeDeliveryMessage(body);
    return delivery.tenant === tenant && delivery.eventId === eventId;
  } catch {
    // Another version of the program published this message; a sender drops it.
    return false;
  }
}
