import { idRange } from '../../lib/id-range.ts';
import type { Queryable } from '../../postgres/transaction.ts';

/** Ends pending deliveries without another attempt. */
export async function cancelDeliveries(db: Queryable, deliveryIds: readonly string[]): Promise<void> {
  await db.query(
    `UPDATE deliveries SET status = 'CANCELLED', completed_at = now(), next_attempt_at = NULL, waiting_for = NULL,
       enqueued_at = NULL, leased_until = NULL
     WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid AND status = 'PENDING'`,
    [deliveryIds, ...idRange(deliveryIds)],
  );
}
