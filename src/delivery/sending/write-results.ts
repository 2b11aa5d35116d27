import type { Attempt } from '../../generated/prisma/client.ts';
import type { DeliveryStatus, WaitReason } from '../../generated/prisma/enums.ts';
import { idRange } from '../../lib/uuid7.ts';
import { recordChanges } from '../../postgres/changes.ts';
import type { Queryable } from '../../postgres/client.ts';

/** An attempt, and the state of its delivery after it. */
export type Result = {
  readonly attempt: Attempt;
  readonly status: DeliveryStatus;
  /** Milliseconds until the next attempt is due, by Postgres's clock; null once the delivery has ended. */
  readonly nextAttemptInMs: number | null;
  readonly waitingFor: WaitReason | null;
  /** Whether the delivery's message stays in JetStream until the next attempt. */
  readonly staysEnqueued: boolean;
};

/**
 * Writes results in one statement. It is idempotent: a write that may have been committed is repeated. A delivery that
 * has ended stays ended, except that a later success changes it. Returns the ids of subscriptions with an open circuit and a
 * success of an attempt that started after the circuit opened. Earlier attempts and those of test events do not count.
 */
export async function writeResults(db: Queryable, results: readonly Result[]): Promise<string[]> {
  const attempts = results.map(({ attempt }) => attempt);
  const last = lastResults(results);
  const deliveryIds = last.map(({ attempt }) => attempt.deliveryId);
  const { rows } = await db.query<{ id: string }>(WRITE_RESULTS, [
    attempts.map((attempt) => attempt.id),
    attempts.map((attempt) => attempt.deliveryId),
    attempts.map((attempt) => attempt.subscriptionId),
    attempts.map((attempt) => attempt.tenant),
    attempts.map((attempt) => attempt.eventType),
    attempts.map((attempt) => attempt.number),
    attempts.map((attempt) => attempt.status),
    attempts.map((attempt) => attempt.failureReason),
    attempts.map((attempt) => attempt.statusCode),
    attempts.map((attempt) => attempt.responseTimeMs),
    attempts.map((attempt) => attempt.startedAt),
    attempts.map((attempt) => JSON.stringify(attempt.requestHeaders)),
    attempts.map((attempt) => (attempt.responseHeaders === null ? null : JSON.stringify(attempt.responseHeaders))),
    attempts.map((attempt) => attempt.responseBody),
    attempts.map((attempt) => attempt.responseBodyTruncated),
    attempts.map((attempt) => attempt.errorMessage),
    attempts.map((attempt) => attempt.payloadSizeBytes),
    attempts.map((attempt) => attempt.isTest),
    attempts.map((attempt) => attempt.url),
    attempts.map((attempt) => attempt.remoteAddress),
    attempts.map((attempt) => attempt.dnsMs),
    attempts.map((attempt) => attempt.connectMs),
    attempts.map((attempt) => attempt.tlsMs),
    attempts.map((attempt) => attempt.firstByteMs),
    attempts.map((attempt) => attempt.bodyMs),
    // As text: unnest() would concatenate the lists.
    attempts.map((attempt) => `{${attempt.signingSecretIds.join(',')}}`),
    deliveryIds,
    last.map(({ attempt }) => attempt.number),
    last.map((result) => result.status),
    last.map((result) => result.nextAttemptInMs),
    last.map((result) => result.waitingFor),
    last.map((result) => result.staysEnqueued),
    ...idRange(deliveryIds),
  ]);
  return rows.map(({ id }) => id);
}

/** One result per delivery: a success if the batch contains one, otherwise the latest attempt. */
function lastResults(results: readonly Result[]): Result[] {
  const last = new Map<string, Result>();
  for (const result of results) {
    const other = last.get(result.attempt.deliveryId);
    if (other === undefined || rank(result) > rank(other)) last.set(result.attempt.deliveryId, result);
  }
  return [...last.values()];
}

function rank({ status, attempt }: Result): number {
  return status === 'SUCCESS' ? Number.POSITIVE_INFINITY : attempt.number;
}

const ATTEMPT_COLUMNS = `id, delivery_id, subscription_id, tenant, event_type, number, status, failure_reason,
  status_code, response_time_ms, started_at, request_headers, response_headers, response_body, response_body_truncated,
  error_message, payload_size_bytes, is_test, url, remote_address, dns_ms, connect_ms, tls_ms, first_byte_ms, body_ms`;

/** Whether this is the first failure since the last success. Attempts from before the circuit closed do not count. */
const BEGINS_TO_FAIL = `(o.last_success IS NULL AND st.failing_since IS NULL
      AND (st.closed_at IS NULL OR o.last_start > st.closed_at))`;
const RECOVERS = '(o.last_success IS NOT NULL AND st.failing_since IS NOT NULL AND st.opened_at IS NULL)';

// `counts`: whether a result changes its delivery; evaluated on the row once it is locked.
// Only states that change are locked, in the order of their ids and after the deliveries (see queue/store.ts): hence
// `waiting` reads what the update of deliveries returns. The state of a newly queued delivery always changes.
const WRITE_RESULTS = `
  WITH result AS (
    SELECT * FROM unnest(
      $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::integer[], $7::attempt_status[],
      $8::failure_reason[], $9::integer[], $10::integer[], $11::timestamptz[], $12::jsonb[], $13::jsonb[], $14::text[],
      $15::boolean[], $16::text[], $17::integer[], $18::boolean[], $19::text[], $20::text[], $21::integer[],
      $22::integer[], $23::integer[], $24::integer[], $25::integer[], $26::text[]
    ) AS r (${ATTEMPT_COLUMNS}, signing_secret_ids)
  ), inserted AS (
    INSERT INTO attempts (${ATTEMPT_COLUMNS}, signing_secret_ids)
    SELECT ${ATTEMPT_COLUMNS}, signing_secret_ids::uuid[] FROM result ON CONFLICT DO NOTHING
  ), updated AS (
    UPDATE deliveries d SET
      (attempt_count, status, next_attempt_at, waiting_for, enqueued_at, leased_until, completed_at) = (
        SELECT greatest(d.attempt_count, number),
          CASE WHEN counts THEN new_status ELSE d.status END,
          CASE WHEN counts THEN now() + next_attempt_in_ms * interval '1 ms' ELSE d.next_attempt_at END,
          CASE WHEN counts THEN new_waiting_for ELSE d.waiting_for END,
          CASE WHEN counts AND NOT stays_enqueued THEN NULL ELSE d.enqueued_at END,
          CASE WHEN counts THEN NULL ELSE d.leased_until END,
          CASE WHEN counts AND new_status <> 'PENDING' THEN now() ELSE d.completed_at END
        FROM (SELECT array_position($27::uuid[], d.id) AS i OFFSET 0) AS place
        CROSS JOIN LATERAL (
          SELECT ($28::integer[])[i], ($29::delivery_status[])[i], ($30::float8[])[i], ($31::wait_reason[])[i],
            ($32::boolean[])[i] OFFSET 0
        ) AS last (number, new_status, next_attempt_in_ms, new_waiting_for, stays_enqueued)
        CROSS JOIN LATERAL (
          SELECT CASE WHEN new_status = 'SUCCESS' THEN d.status <> 'SUCCESS'
            ELSE d.status = 'PENDING' AND d.attempt_count < number END OFFSET 0
        ) AS effect (counts)
      )
    WHERE d.id = ANY ($27::uuid[]) AND d.id BETWEEN $33::uuid AND $34::uuid
    RETURNING d.id, d.subscription_id,
      CASE WHEN d.status = 'PENDING' AND d.enqueued_at IS NULL THEN d.next_attempt_at END AS due_at
  ), ${recordChanges({ deliveries: 'updated' })}, waiting AS (
    SELECT subscription_id, min(due_at) AS due_at FROM updated WHERE due_at IS NOT NULL GROUP BY 1
  ), outcome AS (
    SELECT subscription_id,
      min(started_at) AS first_start,
      max(started_at) AS last_start,
      max(started_at) FILTER (WHERE status = 'SUCCESS') AS last_success
    FROM result WHERE NOT is_test GROUP BY 1
  ), changing AS (
    SELECT st.subscription_id, o.first_start, o.last_start, o.last_success, waiting.due_at
    FROM outcome o LEFT JOIN waiting USING (subscription_id) JOIN subscription_states st USING (subscription_id)
    WHERE waiting.due_at IS NOT NULL OR ${BEGINS_TO_FAIL} OR ${RECOVERS}
    ORDER BY st.subscription_id FOR UPDATE OF st
  ), changed AS (
    UPDATE subscription_states st SET
      next_sweep_at = least(st.next_sweep_at, o.due_at),
      failing_since = CASE WHEN ${BEGINS_TO_FAIL} THEN greatest(o.first_start, st.closed_at)
        WHEN ${RECOVERS} THEN NULL ELSE st.failing_since END
    FROM changing o WHERE st.subscription_id = o.subscription_id
  )
  SELECT st.subscription_id AS id FROM outcome o JOIN subscription_states st USING (subscription_id)
  WHERE o.last_success > st.opened_at`;
