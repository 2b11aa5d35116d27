import type { Logger } from 'pino';
import type { UnwrittenAttempt } from './attempt.ts';
import type { Decision } from './decide.ts';

/** The one line of the program's own log that each attempt gets. */
export function logAttempt(
  log: Logger,
  { attempt, decision }: { readonly attempt: UnwrittenAttempt; readonly decision: Decision },
): void {
  const { deliveryId, subscriptionId, tenant, eventType, number, failureReason, statusCode, responseTimeMs } = attempt;
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
