import type pg from 'pg';
import { uuid7 } from '../src/lib/uuid7.ts';
import { type DeliveryJob, TENANT } from './bullmq-job.ts';

export type AttemptRow = {
  readonly job: DeliveryJob;
  readonly number: number;
  readonly startedAt: Date;
  readonly secretId: string;
  readonly payloadSizeBytes: number;
  readonly requestHeaders: Readonly<Record<string, string>>;
  readonly response?: {
    readonly statusCode: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
  };
  readonly errorMessage?: string;
};

/** An attempt and its outcome. `isOk` completes the delivery, and `isLast` completes it after a failure. */
type Result = AttemptRow & { readonly isOk: boolean; readonly isLast: boolean };

/** Inserts the attempt and updates its delivery in one statement: one round trip, one commit. */
export async function writeAttempt(pool: pg.Pool, result: Result): Promise<void> {
  const { job, number, startedAt, response, errorMessage, isOk, isLast } = result;
  const failureReason = response === undefined ? 'OTHER' : 'HTTP_STATUS';
  const values = [
    uuid7(Date.now()),
    job.deliveryId,
    job.subscriptionId,
    TENANT,
    job.eventType,
    number,
    isOk ? 'SUCCESS' : 'FAILURE',
    isOk ? null : failureReason,
    response?.statusCode ?? null,
    Date.now() - startedAt.getTime(),
    startedAt,
    JSON.stringify(result.requestHeaders),
    response === undefined ? null : JSON.stringify(response.headers),
    response?.body ?? null,
    errorMessage ?? null,
    result.payloadSizeBytes,
    [result.secretId],
    isOk ? 'SUCCESS' : isLast ? 'FAILURE' : 'PENDING',
  ];
  // The name makes pg prepare the statement once on each connection.
  await pool.query({ name: 'write', text: WRITE, values });
}

const WRITE = `
  WITH logged AS (
    INSERT INTO attempts (id, delivery_id, subscription_id, tenant, event_type, number, status, failure_reason,
      status_code, response_time_ms, started_at, url, request_headers, response_headers, response_body, error_message,
      payload_size_bytes, signing_secret_ids)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'http://127.0.0.1/', $12, $13, $14, $15, $16, $17)
  )
  UPDATE deliveries SET attempt_count = $6, status = $18::delivery_status,
    next_attempt_at = CASE WHEN $18::delivery_status = 'PENDING' THEN next_attempt_at END,
    enqueued_at = CASE WHEN $18::delivery_status = 'PENDING' THEN enqueued_at END,
    completed_at = CASE WHEN $18::delivery_status = 'PENDING' THEN completed_at ELSE now() END
  WHERE id = $2`;
