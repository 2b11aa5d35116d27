import { type PendingDelivery, pendingDeliveryColumns } from './pending-delivery.ts';
import type { Queryable } from './transaction.ts';

/** The deliveries of these events (rows) whose first message may not have been published. */
export async function unattemptedDeliveries(
  db: Queryable,
  { eventRowIds, maxDataBytes }: { eventRowIds: readonly string[]; maxDataBytes: number },
): Promise<PendingDelivery[]> {
  const { rows } = await db.query<PendingDelivery>(
    `SELECT ${pendingDeliveryColumns('$2')}
     FROM deliveries d JOIN events e ON e.id = d.event_id JOIN webhook_subscriptions s ON s.id = d.subscription_id
     WHERE d.event_id = ANY ($1::uuid[]) AND d.status = 'PENDING' AND d.attempt_count = 0
       AND d.enqueue_count = 1 AND d.enqueued_at IS NOT NULL`,
    [eventRowIds, maxDataBytes],
  );
  return rows;
}
