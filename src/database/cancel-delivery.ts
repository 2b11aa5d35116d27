import type { Queryable } from './transaction.ts';

/** Ends a pending delivery without another attempt. */
export async function cancelDelivery(db: Queryable, deliveryId: string): Promise<void> {
  await db.query(
    `UPDATE deliveries SET status = 'CANCELLED', completed_at = now(), next_attempt_at = NULL, waiting_for = NULL,
       enqueued_at = NULL, leased_until = NULL
     WHERE id = $1 AND status = 'PENDING'`,
    [deliveryId],
  );
}
