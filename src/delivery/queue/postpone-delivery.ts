import { idRange } from '../../lib/id-range.ts';
import type { Queryable } from '../../postgres/transaction.ts';
import { wakeQueues } from './wake-queues.ts';

/** Deliveries that cannot be attempted now wait in Postgres for so long, their attempts uncounted. */
export async function postponeDeliveries(
  db: Queryable,
  { deliveryIds, waitMs }: { deliveryIds: readonly string[]; waitMs: number },
): Promise<void> {
  await db.query(
    `WITH postponed AS (
       UPDATE deliveries SET next_attempt_at = now() + $2 * interval '1 ms', enqueued_at = NULL, leased_until = NULL
       WHERE id = ANY ($1::uuid[]) AND id BETWEEN $3::uuid AND $4::uuid AND status = 'PENDING'
       RETURNING subscription_id, next_attempt_at
     )${wakeQueues('postponed')}`,
    [deliveryIds, waitMs, ...idRange(deliveryIds)],
  );
}
