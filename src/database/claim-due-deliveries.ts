import { type PendingDelivery, pendingDeliveryColumns } from './pending-delivery.ts';
import type { Queryable } from './transaction.ts';

/**
 * Marks up to `limit` deliveries that wait in Postgres and are due as enqueued, and returns them for publishing. Any
 * number of processes may do this at once; none gets a delivery another one got.
 */
export async function claimDueDeliveries(
  db: Queryable,
  { limit, maxDataBytes }: { limit: number; maxDataBytes: number },
): Promise<PendingDelivery[]> {
  const { rows } = await db.query<PendingDelivery>(
    `WITH due AS (
       SELECT id FROM deliveries
       WHERE status = 'PENDING' AND enqueued_at IS NULL AND next_attempt_at <= now()
       ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED
     )
     UPDATE deliveries d SET enqueued_at = now(), enqueue_count = d.enqueue_count + 1
     FROM due, events e, webhook_subscriptions s
     WHERE d.id = due.id AND e.id = d.event_id AND s.id = d.subscription_id
     RETURNING ${pendingDeliveryColumns('$2')}`,
    [limit, maxDataBytes],
  );
  return rows;
}
