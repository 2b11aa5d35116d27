import { idRange } from '../../lib/id-range.ts';
import type { Queryable } from '../../postgres/transaction.ts';
import { wakeQueues } from './wake-queues.ts';

/**
 * Deliveries that turned out to have no message wait in Postgres again, until their next attempt is due. `wereRefused`:
 * because NATS did not take it, which their subscriptions remember. With `heldBackMs`, a message may nevertheless be stored, and
 * lead to a first attempt that takes no lease: nobody else gets a lease for so many milliseconds and the time limit of an attempt.
 */
export async function returnToWaiting(
  db: Queryable,
  deliveryIds: readonly string[],
  { wereRefused = false, heldBackMs }: { readonly wereRefused?: boolean; readonly heldBackMs?: number } = {},
): Promise<void> {
  await db.query(
    `WITH returned AS (
       UPDATE deliveries d SET enqueued_at = NULL, leased_until =
         CASE WHEN $4::integer IS NULL OR d.attempt_count > 0 THEN d.leased_until
           ELSE greatest(d.leased_until, now() + (s.timeout_ms + $4) * interval '1 ms') END
       FROM webhook_subscriptions s
       WHERE d.id = ANY ($1::uuid[]) AND d.id BETWEEN $2::uuid AND $3::uuid AND d.status = 'PENDING'
         AND s.id = d.subscription_id
       RETURNING d.subscription_id, d.next_attempt_at
     )${wakeQueues('returned', wereRefused ? ['refused_at = now()'] : [])}`,
    [deliveryIds, ...idRange(deliveryIds), heldBackMs ?? null],
  );
}
