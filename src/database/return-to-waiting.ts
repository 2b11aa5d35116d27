import { idRange } from './id-range.ts';
import type { Queryable } from './transaction.ts';
import { wakeQueues } from './wake-queues.ts';

/**
 * Deliveries that turned out to have no message wait in Postgres again, until their next attempt is due. `wereRefused`:
 * because NATS did not take it, which their subscriptions remember.
 */
export async function returnToWaiting(
  db: Queryable,
  deliveryIds: readonly string[],
  { wereRefused = false }: { readonly wereRefused?: boolean } = {},
): Promise<void> {
  await db.query(
    `WITH returned AS (
       UPDATE deliveries SET enqueued_at = NULL
       WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid AND status = 'PENDING'
       RETURNING subscription_id, next_attempt_at
     )${wakeQueues('returned', wereRefused ? ['refused_at = now()'] : [])}`,
    [deliveryIds, ...idRange(deliveryIds)],
  );
}
