import type { JsMsg } from 'nats';
import type { Logger } from 'pino';
import { traceFields } from '../lib/tracing.ts';
import type { NatsClient } from '../nats/connection.ts';
import type { Database } from '../postgres/client.ts';
import { isTransient, sqlStateOf } from '../postgres/errors.ts';
import type { EventMetrics } from './metrics.ts';
import { parseEvent, rejectEvent, toIncomingMessage } from './parse.ts';
import { insertRejectedEvents, type NewRejectedEvent } from './store.ts';

/** Redelivery delays of an event: the first doubles with each delivery, up to the last. */
type Delays = { readonly firstMs: number; readonly lastMs: number };
/** Delays after an error that ends without intervention, such as a locked table or a timeout. */
const TRANSIENT: Delays = { firstMs: 5_000, lastMs: 30_000 };
/** Delays after Postgres refused the event itself. Each try can block its batch for a statement timeout, then the event. */
const REFUSED: Delays = { firstMs: 30_000, lastMs: 3_600_000 };
/** Age at which an event is rejected: one day before EVENTS would drop it without a record. */
const REJECT_AFTER_MS = 48 * 3_600_000;
/**
 * Deliveries (about eight minutes) after which an event is rejected while EVENTS is nearly full, because the stream cannot
 * delete the events behind it.
 */
const MAX_DELIVERIES_WHEN_FULL = 5;

type RefusedEvent = { readonly message: JsMsg; readonly error: unknown };

type RefusalServices = {
  readonly database: Database;
  readonly nats: Pick<NatsClient, 'names' | 'eventsNearlyFull'>;
  readonly log: Logger;
  readonly metrics: EventMetrics;
};

/**
 * Delays an event that cannot be written, so that later events go first. After two days, or within minutes if EVENTS is
 * nearly full, the event becomes a rejected event.
 */
export async function retryLaterOrReject(
  { database, nats, log, metrics }: RefusalServices,
  refused: RefusedEvent,
): Promise<void> {
  const { message, error } = refused;
  const { deliveryCount, timestampNanos } = message.info;
  const facts = { subject: message.subject, sequence: message.seq };
  const ageMs = database.clock.now() - timestampNanos / 1_000_000;
  if (!mustReject(error, { ageMs, deliveryCount, eventsNearlyFull: nats.eventsNearlyFull })) {
    log.error({ err: error, ...facts }, 'event refused; retrying later');
    message.nak(retryDelayMs(error, deliveryCount));
    return;
  }
  try {
    const parsed = parseEvent(toIncomingMessage(message), nats.names);
    const rejection =
      parsed.kind === 'event' ? rejectEvent(parsed, { reason: 'NOT_RECORDED', message: describe(error) }) : parsed;
    for (const { reason } of await insertRejectedEvents(database.pool, [rejection])) metrics.rejected(reason);
    log.error({ err: error, ...facts }, 'event refused for too long; rejected');
    message.ack();
  } catch (cause) {
    log.error({ err: cause, ...facts }, 'event refused for too long; rejecting it failed');
    message.nak(retryDelayMs(cause, deliveryCount));
  }
}

/** Contains only the SQLSTATE of an error of Postgres, because its message may quote data. */
function describe(error: unknown): string {
  const sqlState = sqlStateOf(error);
  const cause = sqlState === undefined ? 'see the log' : `SQLSTATE ${sqlState}`;
  return `the event could not be recorded: ${cause}`;
}

/** After a transient error, such as a locked table, an event is rejected only because of its age, even if EVENTS is full. */
export function mustReject(
  error: unknown,
  event: { readonly ageMs: number; readonly deliveryCount: number; readonly eventsNearlyFull: boolean },
): boolean {
  if (event.ageMs >= REJECT_AFTER_MS) return true;
  return event.eventsNearlyFull && event.deliveryCount >= MAX_DELIVERIES_WHEN_FULL && !isTransient(error);
}

/** `deliveryCount`: number of times that JetStream has delivered the event. */
export function retryDelayMs(error: unknown, deliveryCount: number): number {
  const { firstMs, lastMs } = isTransient(error) ? TRANSIENT : REFUSED;
  return Math.min(lastMs, firstMs * 2 ** (deliveryCount - 1));
}

/** Minimum time between two log lines. A faulty publisher can cause thousands of rejections a second. */
const LOG_INTERVAL_MS = 1_000;
/** The message of a rejection with this reason quotes member names of the event's data, so it is not logged. */
const QUOTES_DATA = 'SCHEMA_MISMATCH';

/**
 * Logs rejected events, at most one line a second: the first immediately, then the latest of each second with the number of
 * rejections that were not logged (`leftOut`). The GraphQL query `rejectedEvents` returns all of them.
 */
export function createRejectionLog(log: Logger): (rejected: readonly NewRejectedEvent[]) => void {
  let isQuiet = false;
  let latest: NewRejectedEvent | undefined;
  let leftOut = 0;

  function write({ id, subject, reason, message, sizeBytes, traceParent }: NewRejectedEvent): void {
    const why = reason === QUOTES_DATA ? {} : { why: message };
    const trace = traceFields(traceParent);
    log.warn({ rejectedEventId: id, subject, reason, ...why, sizeBytes, leftOut, ...trace }, 'event rejected');
    [latest, leftOut, isQuiet] = [undefined, 0, true];
    setTimeout(() => {
      isQuiet = false;
      if (latest === undefined) return;
      leftOut -= 1;
      write(latest);
    }, LOG_INTERVAL_MS).unref();
  }

  return (rejected) => {
    for (const event of rejected) {
      if (!isQuiet) write(event);
      else {
        latest = event;
        leftOut += 1;
      }
    }
  };
}
