import type { Logger } from 'pino';
import type { NewRejectedEvent } from './insert-rejected-events.ts';

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
