import type { Queryable } from './transaction.ts';
import { wakeQueues } from './wake-queues.ts';

/** A delivery that cannot be attempted now waits in Postgres for so long, its attempts uncounted. */
export async function postponeDelivery(
  db: Queryable,
  { deliveryId, waitMs }: { deliveryId: string; waitMs: number },
): Promise<void> {
  await db.query(
    `WITH postponed AS (
       UPDATE deliveries SET next_attempt_at = now() + $2 * interval '1 ms', enqueued_at = NULL, leased_until = NULL
       WHERE id = $1 AND status = 'PENDING'
       RETURNING subscription_id, next_attempt_at
     )${wakeQueues('postponed')}`,
    [deliveryId, waitMs],
  );
}
