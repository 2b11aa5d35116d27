import type { Attempt } from '../../generated/prisma/client.ts';
import type { DeliveryStatus, WaitReason } from '../../generated/prisma/enums.ts';
import { idRange } from '../../lib/id-range.ts';
import type { Queryable } from '../../postgres/transaction.ts';

/** An attempt that was made, and what became of its delivery. */
export type Result = {
  readonly attempt: Attempt;
  readonly status: DeliveryStatus;
  /** In how many milliseconds the next attempt is due, by Postgres's clock; null once the delivery has ended. */
  readonly nextAttemptInMs: number | null;
  readonly waitingFor: WaitReason | null;
  /** Whether the delivery's message stays alive in JetStream until then. */
  readonly staysEnqueued: boolean;
};

/**
 * Writes results in one statement. Writing one again changes nothing, so a write that may or may not have been
 * committed is simply repeated. A delivery that has ended stays ended, except that a success counts whenever it comes.
 * Returns the subscriptions with an open circuit and a success that was begun since it opened: the attempts that were
 * under way say nothing new. Nor do those of test events.
 */
export async function writeResults(db: Queryable, results: readonly Result[]): Promise<string[]> {
  const attempts = results.map(({ attempt }) => attempt);
  const { rows } = await db.query<{ id: string }>(STATEMENT, [
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
    // As text: unnest() would lay the lists end to end.
    attempts.map((attempt) => `{${attempt.signingSecretIds.join(',')}}`),
    results.map((result) => result.status),
    results.map((result) => result.nextAttemptInMs),
    results.map((result) => result.waitingFor),
    results.map((result) => result.staysEnqueued),
    ...idRange(attempts.map((attempt) => attempt.deliveryId)),
  ]);
  return rows.map(({ id }) => id);
}

const ATTEMPT_COLUMNS = `id, delivery_id, subscription_id, tenant, event_type, number, status, failure_reason,
  status_code, response_time_ms, started_at, request_headers, response_headers, response_body, response_body_truncated,
  error_message, payload_size_bytes, is_test`;

/** Whether a result moves its delivery; judged on the row as it is when it is locked. */
const COUNTS = `(CASE WHEN f.delivery_status = 'SUCCESS' THEN d.status <> 'SUCCESS'
      ELSE d.status = 'PENDING' AND d.attempt_count < f.number END)`;

/** Whether there is no success any more. What was begun before the subscription started over says nothing about it. */
const BEGINS_TO_FAIL = `(o.last_success IS NULL AND st.failing_since IS NULL
      AND (st.closed_at IS NULL OR o.last_start > st.closed_at))`;
const RECOVERS = '(o.last_success IS NOT NULL AND st.failing_since IS NOT NULL AND st.opened_at IS NULL)';

// Two results of one delivery in one batch: the success counts, else the later attempt.
// Only states that change are locked, in one order; those that get something to wait for in any case (see wakeQueues).
// And only after the deliveries, as everywhere: hence `waiting` reads what their update returns.
const STATEMENT = `
  WITH result AS (
    SELECT * FROM unnest(
      $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::integer[], $7::attempt_status[],
      $8::failure_reason[], $9::integer[], $10::integer[], $11::timestamptz[], $12::jsonb[], $13::jsonb[], $14::text[],
      $15::boolean[], $16::text[], $17::integer[], $18::boolean[], $19::text[], $20::delivery_status[],
      $21::float8[], $22::wait_reason[], $23::boolean[]
    ) AS r (${ATTEMPT_COLUMNS}, signing_secret_ids, delivery_status, next_attempt_in_ms, waiting_for, stays_enqueued)
  ), inserted AS (
    INSERT INTO attempts (${ATTEMPT_COLUMNS}, signing_secret_ids)
    SELECT ${ATTEMPT_COLUMNS}, signing_secret_ids::uuid[] FROM result ON CONFLICT DO NOTHING
  ), final AS (
    SELECT DISTINCT ON (delivery_id) * FROM result ORDER BY delivery_id, delivery_status = 'SUCCESS' DESC, number DESC
  ), updated AS (
    UPDATE deliveries d SET
      attempt_count = greatest(d.attempt_count, f.number),
      status = CASE WHEN ${COUNTS} THEN f.delivery_status ELSE d.status END,
      next_attempt_at = CASE WHEN ${COUNTS} THEN now() + f.next_attempt_in_ms * interval '1 ms' ELSE d.next_attempt_at END,
      waiting_for = CASE WHEN ${COUNTS} THEN f.waiting_for ELSE d.waiting_for END,
      enqueued_at = CASE WHEN ${COUNTS} AND NOT f.stays_enqueued THEN NULL ELSE d.enqueued_at END,
      leased_until = CASE WHEN ${COUNTS} THEN NULL ELSE d.leased_until END,
      completed_at = CASE WHEN ${COUNTS} AND f.delivery_status <> 'PENDING' THEN now() ELSE d.completed_at END
    FROM final f WHERE d.id = f.delivery_id AND d.id BETWEEN $24::uuid AND $25::uuid
    RETURNING d.subscription_id,
      CASE WHEN d.status = 'PENDING' AND d.enqueued_at IS NULL THEN d.next_attempt_at END AS due_at
  ), waiting AS (
    SELECT subscription_id, min(due_at) AS due_at FROM updated GROUP BY 1
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
      next_due_at = least(st.next_due_at, o.due_at),
      failing_since = CASE WHEN ${BEGINS_TO_FAIL} THEN greatest(o.first_start, st.closed_at)
        WHEN ${RECOVERS} THEN NULL ELSE st.failing_since END
    FROM changing o WHERE st.subscription_id = o.subscription_id
  )
  SELECT st.subscription_id AS id FROM outcome o JOIN subscription_states st USING (subscription_id)
  WHERE o.last_success > st.opened_at`;
