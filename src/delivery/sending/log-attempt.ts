import type { Logger } from 'pino';
import type { LogAttempts } from '../../config/values.ts';
import type { UnwrittenAttempt } from './attempt.ts';
import type { Decision } from './decide.ts';

/** Writes the line of the program's own log that an attempt gets, unless `logAttempts` leaves it out. */
export function logAttempt(
  { log, logAttempts }: { readonly log: Logger; readonly logAttempts: LogAttempts },
  { attempt, decision }: { readonly attempt: UnwrittenAttempt; readonly decision: Decision },
): void {
  const { deliveryId, subscriptionId, tenant, eventType, number, failureReason, statusCode, responseTimeMs } = attempt;
  if (logAttempts === 'none' || (logAttempts === 'failures' && failureReason === null)) return;
  log.info(
    {
      ...{ deliveryId, subscriptionId, tenant, eventType, attempt: number },
      ...(failureReason === null ? {} : { failureReason }),
      ...(statusCode === null ? {} : { statusCode }),
      responseTimeMs,
      next: decision.kind,
      ...(decision.kind === 'retry' ? { retryInMs: decision.delayMs } : {}),
    },
    'delivery.attempted',
  );
}
