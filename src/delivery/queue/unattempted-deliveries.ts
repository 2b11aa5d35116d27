import { idRange } from '../../lib/id-range.ts';
import { type PendingDelivery, pendingDeliveryColumns } from './pending-delivery.ts';
import type { Queryable } from '../../postgres/transaction.ts';
import { uuid7Floor, uuid7Time } from '../../lib/uuid7.ts';

/**
 * The deliveries of these events (rows) whose first message may not have been published. Their ids carry the time of
 * their event's: the bounds are for Postgres to leave out the other partitions.
 */
export async function unattemptedDeliveries(
  db: Queryable,
  { eventRowIds, maxDataBytes }: { eventRowIds: readonly string[]; maxDataBytes: number },
): Promise<PendingDelivery[]> {
  const [least, greatest] = idRange(eventRowIds);
  const { rows } = await db.query<PendingDelivery>(
    `SELECT ${pendingDeliveryColumns('$2')}
     FROM deliveries d JOIN events e ON e.id = d.event_id JOIN webhook_subscriptions s ON s.id = d.subscription_id
     WHERE d.event_id = ANY ($1::uuid[]) AND d.status = 'PENDING' AND d.attempt_count = 0
       AND d.enqueue_count = 1 AND d.enqueued_at IS NOT NULL
       AND e.id BETWEEN $3 AND $4 AND d.id >= $5 AND d.id < $6`,
    [eventRowIds, maxDataBytes, least, greatest, uuid7Floor(uuid7Time(least)), uuid7Floor(uuid7Time(greatest) + 1)],
  );
  return rows;
}
