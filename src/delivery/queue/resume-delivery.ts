import { type PendingDelivery, pendingDeliveryColumns } from './pending-delivery.ts';
import type { Queryable } from '../../postgres/transaction.ts';

/**
 * Makes a delivery that has failed, or waits, due now, and marks it as enqueued: an older message of it is dropped when
 * it comes. Returns what its message needs; undefined, and nothing is changed, if its event is gone. The event is held,
 * so that it does not go before the delivery that needs it is seen to be pending.
 */
export async function resumeDelivery(
  db: Queryable,
  { id, maxDataBytes }: { readonly id: string; readonly maxDataBytes: number },
): Promise<PendingDelivery | undefined> {
  const { rows } = await db.query<PendingDelivery>(
    `WITH e AS (
       SELECT * FROM events WHERE id = (SELECT event_id FROM deliveries WHERE id = $1) FOR KEY SHARE
     )
     UPDATE deliveries d SET status = 'PENDING', completed_at = NULL, next_attempt_at = now(), waiting_for = NULL,
       enqueued_at = now(), enqueue_count = d.enqueue_count + 1, leased_until = NULL
     FROM e, webhook_subscriptions s
     WHERE d.id = $1 AND s.id = d.subscription_id
     RETURNING ${pendingDeliveryColumns('$2')}`,
    [id, maxDataBytes],
  );
  return rows[0];
}
