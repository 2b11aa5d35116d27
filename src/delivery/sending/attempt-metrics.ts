import type { Logger } from 'pino';
import { Counter, Histogram, type Registry } from 'prom-client';
import { FailureReason } from '../../generated/prisma/enums.ts';
import { traceFields } from '../../lib/tracing.ts';
import { uuid7Time } from '../../lib/uuid7.ts';
import type { Clock } from '../../postgres/clock.ts';
import type { NewAttempt } from './attempt.ts';
import type { NextStep } from './retry-policy.ts';
import type { Result } from './write-results.ts';

export type AttemptMetrics = {
  /** Counts the results of one statement, once it is committed. */
  written(results: readonly Result[], seconds: number): void;
  /** Counts one statement that failed and is retried. */
  writeFailed(): void;
};

type Labels = {
  readonly status: Result['attempt']['status'];
  readonly failure_reason: FailureReason | 'none';
  /** The class of the status code. One series per code would create hundreds of series. */
  readonly code: string;
};

const ATTEMPT_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Seconds, from an immediate success to the end of the default retry schedule. */
const LATENCY_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 43_200];
const BATCH_BUCKETS = [1, 2, 5, 10, 20, 50, 100, 200, 500];
const WRITE_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** Counts attempts once they are in the delivery log, because an attempt whose result is not recorded is repeated. */
export function createAttemptMetrics(metrics: Registry, clock: Pick<Clock, 'now'>): AttemptMetrics {
  const { attempts, duration, latency, failed } = createAttemptCounts(metrics);
  const { batch, writing, writeFailures } = createWriteCounts(metrics);

  function count({ attempt, status }: Result): void {
    attempts.inc(labelsOf(attempt));
    duration.observe({ status: attempt.status }, attempt.responseTimeMs / 1_000);
    if (status === 'FAILURE' && !attempt.isTest) failed.inc();
    if (attempt.status !== 'SUCCESS') return;
    // A delivery's id contains the time of its event, or, for a replay, of its own creation.
    const latencyMs = Math.max(0, clock.now() - uuid7Time(attempt.deliveryId));
    latency.observe({ attempt: attempt.number === 1 ? 'first' : 'later' }, latencyMs / 1_000);
  }

  return {
    written: (results, seconds) => {
      batch.observe(results.length);
      writing.observe(seconds);
      for (const result of results) count(result);
    },
    writeFailed: () => {
      writeFailures.inc();
    },
  };
}

function createAttemptCounts(metrics: Registry) {
  const registers = [metrics];
  const attempts = new Counter({
    registers,
    name: 'webhooks_attempts_total',
    labelNames: ['status', 'failure_reason', 'code'],
    help: 'Attempts in the delivery log, by outcome and class of the status code',
  });
  // Series start at 0. Otherwise Prometheus's increase() would miss the first failure of a kind.
  for (const labels of knownLabels()) attempts.inc(labels, 0);
  const duration = new Histogram({
    registers,
    name: 'webhooks_attempt_duration_seconds',
    labelNames: ['status'],
    buckets: ATTEMPT_BUCKETS,
    help: 'Time from the start of an attempt to the headers of its response, or to its failure',
  });
  const latency = new Histogram({
    registers,
    name: 'webhooks_delivery_latency_seconds',
    labelNames: ['attempt'],
    buckets: LATENCY_BUCKETS,
    help: 'Time from the event (for a replay: from the new delivery) to the recorded success, for the first attempt or a later one',
  });
  for (const status of ['SUCCESS', 'FAILURE']) duration.zero({ status });
  for (const attempt of ['first', 'later']) latency.zero({ attempt });
  const failed = new Counter({
    registers,
    name: 'webhooks_deliveries_failed_total',
    help: 'Deliveries that failed finally: the retry schedule was exhausted, or the endpoint answered 410; without test events',
  });
  return { attempts, duration, latency, failed };
}

function createWriteCounts(metrics: Registry) {
  const registers = [metrics];
  const batch = new Histogram({
    registers,
    name: 'webhooks_log_write_attempts',
    buckets: BATCH_BUCKETS,
    help: 'Attempts in one write to the delivery log',
  });
  const writing = new Histogram({
    registers,
    name: 'webhooks_log_write_duration_seconds',
    buckets: WRITE_BUCKETS,
    help: 'Duration of a write to the delivery log',
  });
  const writeFailures = new Counter({
    registers,
    name: 'webhooks_log_write_failures_total',
    help: 'Writes to the delivery log that failed and were retried',
  });
  return { batch, writing, writeFailures };
}

function labelsOf({ status, failureReason, statusCode }: Result['attempt']): Labels {
  const code = statusCode === null ? 'none' : `${Math.floor(statusCode / 100)}xx`;
  return { status, failure_reason: failureReason ?? 'none', code };
}

function knownLabels(): Labels[] {
  const classes: Partial<Record<FailureReason, readonly string[]>> = { HTTP_STATUS: ['4xx', '5xx'], REDIRECT: ['3xx'] };
  const failures = Object.values(FailureReason).flatMap((reason) =>
    (classes[reason] ?? ['none']).map((code) => ({ status: 'FAILURE' as const, failure_reason: reason, code })),
  );
  return [{ status: 'SUCCESS', failure_reason: 'none', code: '2xx' }, ...failures];
}

type LoggedAttempt = {
  readonly attempt: NewAttempt;
  readonly decision: NextStep;
  /** The position of its span; undefined without tracing. */
  readonly traceParent?: string | undefined;
};

/** Writes one line about an attempt to the program's log, unless `logAttempts` excludes it. */
export function logAttempt(
  { log, logAttempts }: { readonly log: Logger; readonly logAttempts: LogAttempts },
  { attempt, decision, traceParent }: LoggedAttempt,
): void {
  const { deliveryId, subscriptionId, tenant, eventType, number, failureReason, statusCode, responseTimeMs } = attempt;
  if (logAttempts === 'none' || (logAttempts === 'failures' && failureReason === null)) return;
  log.info(
    {
      deliveryId,
      subscriptionId,
      tenant,
      eventType,
      attempt: number,
      ...(failureReason === null ? {} : { failureReason }),
      ...(statusCode === null ? {} : { statusCode }),
      responseTimeMs,
      next: decision.kind,
      ...(decision.kind === 'retry' ? { retryInMs: decision.delayMs } : {}),
      ...traceFields(traceParent),
    },
    'delivery.attempted',
  );
}

export const LOG_ATTEMPTS = ['all', 'failures', 'none'] as const;

export type LogAttempts = (typeof LOG_ATTEMPTS)[number];
