import { uuid7 } from '../../src/lib/uuid7.ts';
import type { TestServices } from './test-app.ts';

/** Inserts attempts with ids and times in the past, the oldest first. */
export async function insertAttempts(
  { query }: Pick<TestServices, 'query'>,
  { subscriptionId, statuses, agoMs }: { subscriptionId: string; statuses: readonly string[]; agoMs: number },
): Promise<void> {
  const since = Date.now() - agoMs;
  const ids = statuses.map((_, index) => uuid7(since + index));
  await query(
    `INSERT INTO attempts (id, delivery_id, subscription_id, tenant, event_type, number, status, failure_reason,
       response_time_ms, started_at, url, request_headers, payload_size_bytes)
     SELECT id, gen_random_uuid(), $1, 'acme', 'before', 1, status,
       CASE WHEN status = 'FAILURE' THEN 'HTTP_STATUS'::failure_reason END, 1, now() - $4 * interval '1 ms', 'x', '{}', 2
     FROM unnest($2::uuid[], $3::attempt_status[]) AS a (id, status)`,
    [subscriptionId, ids, statuses, agoMs],
  );
}

export function times<T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value);
}
