import type { JsMsg } from 'nats';
import type { Logger } from 'pino';
import type { NatsClient } from '../nats/connection.ts';
import type { Database } from '../postgres/client.ts';
import { isTransient, sqlStateOf } from '../postgres/errors.ts';
import type { EventMetrics } from './metrics.ts';
import { parseEvent, rejectEvent, toIncomingMessage } from './parse.ts';
import { insertRejectedEvents, type NewRejectedEvent } from './store.ts';

/** Delays before an event is tried again. The first one doubles with each try, up to the last. */
type Delays = { readonly firstMs: number; readonly lastMs: number };
/** After a locked table, a timeout or any other error that ends by itself. */
const TRANSIENT: Delays = { firstMs: 5_000, lastMs: 30_000 };
/** After a refusal of the event itself: each try costs its batch, and itself, up to a statement's timeout. */
const REFUSED: Delays = { firstMs: 30_000, lastMs: 3_600_000 };
/** A day before EVENTS would drop it without a trace. */
const REJECT_AFTER_MS = 48 * 3_600_000;
/** Some eight minutes of tries, while EVENTS is nearly full: nothing after the event is deleted, so it would fill up. */
const TRIES_WITHOUT_ROOM = 5;

type RefusedEvent = { readonly message: JsMsg; readonly error: unknown };

type RefusalServices = {
  readonly database: Database;
  readonly bus: Pick<NatsClient, 'names' | 'eventsNearlyFull'>;
  readonly log: Logger;
  readonly metrics: EventMetrics;
};

/**
 * An event that cannot be written is tried again, behind the others; after two days, or soon when EVENTS is nearly full, it
 * becomes a rejected event.
 */
export async function retryLaterOrReject(
  { database, bus, log, metrics }: RefusalServices,
  refused: RefusedEvent,
): Promise<void> {
  const { message, error } = refused;
  const { deliveryCount, timestampNanos } = message.info;
  const facts = { subject: message.subject, sequence: message.seq };
  const ageMs = database.clock.now() - timestampNanos / 1_000_000;
  if (!mustReject(error, { ageMs, deliveryCount, eventsNearlyFull: bus.eventsNearlyFull })) {
    log.error({ err: error, ...facts }, 'an event was refused; trying it again behind the others');
    message.nak(retryDelayMs(error, deliveryCount));
    return;
  }
  try {
    const parsed = parseEvent(toIncomingMessage(message), bus.names);
    const rejection =
      parsed.kind === 'event' ? rejectEvent(parsed, { reason: 'NOT_RECORDED', message: describe(error) }) : parsed;
    for (const { reason } of await insertRejectedEvents(database.pool, [rejection])) metrics.rejected(reason);
    log.error({ err: error, ...facts }, 'an event was refused for too long, and is rejected');
    message.ack();
  } catch (cause) {
    log.error({ err: cause, ...facts }, 'an event was refused for too long, and cannot be rejected either');
    message.nak(retryDelayMs(cause, deliveryCount));
  }
}

/** The cause is only named: what Postgres says about it may quote data. */
function describe(error: unknown): string {
  const sqlState = sqlStateOf(error);
  const name = sqlState === undefined ? 'see the log' : `SQLSTATE ${sqlState}`;
  return `the event could not be recorded: ${name}`;
}

/** An error that ends by itself, such as a locked table, costs no event, however full EVENTS is. */
export function mustReject(
  error: unknown,
  event: { readonly ageMs: number; readonly deliveryCount: number; readonly eventsNearlyFull: boolean },
): boolean {
  if (event.ageMs >= REJECT_AFTER_MS) return true;
  return event.eventsNearlyFull && event.deliveryCount >= TRIES_WITHOUT_ROOM && !isTransient(error);
}

/** `deliveryCount`: how often JetStream has delivered the event, from 1. */
export function retryDelayMs(error: unknown, deliveryCount: number): number {
  const { firstMs, lastMs } = isTransient(error) ? TRANSIENT : REFUSED;
  return Math.min(lastMs, firstMs * 2 ** (deliveryCount - 1));
}

/** A publisher with a bug can have every event rejected, thousands a second. */
const INTERVAL_MS = 1_000;
/** The path in its message has names of the event's data, which is the customer's. */
const QUOTES_DATA = 'SCHEMA_MISMATCH';

/**
 * Logs rejected events, at most one line a second: the first one at once, then one of each second with the number of
 * those that got no line (`leftOut`). All of them are readable as `rejectedEvents` over GraphQL.
 */
export function createRejectionLog(log: Logger): (rejected: readonly NewRejectedEvent[]) => void {
  let isQuiet = false;
  let latest: NewRejectedEvent | undefined;
  let leftOut = 0;

  function write({ id, subject, reason, message, sizeBytes }: NewRejectedEvent): void {
    const why = reason === QUOTES_DATA ? {} : { why: message };
    log.warn({ rejectedEventId: id, subject, reason, ...why, sizeBytes, leftOut }, 'event rejected');
    [latest, leftOut, isQuiet] = [undefined, 0, true];
    setTimeout(() => {
      isQuiet = false;
      if (latest === undefined) return;
      leftOut -= 1;
      write(latest);
    }, INTERVAL_MS).unref();
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
