import { idRange } from '../../lib/id-range.ts';
import { type PendingDelivery, pendingDeliveryColumns } from './pending-delivery.ts';
import type { Queryable } from '../../postgres/transaction.ts';

/** Marks deliveries as enqueued once more, and returns what their messages need. */
export async function enqueueDeliveries(
  db: Queryable,
  { ids, maxDataBytes }: { readonly ids: readonly string[]; readonly maxDataBytes: number },
): Promise<PendingDelivery[]> {
  const { rows } = await db.query<PendingDelivery>(
    `UPDATE deliveries d SET enqueued_at = now(), enqueue_count = d.enqueue_count + 1, waiting_for = NULL
     FROM unnest($1::uuid[]) AS due (id), events e, webhook_subscriptions s
     WHERE d.id = due.id AND d.id BETWEEN $3::uuid AND $4::uuid AND e.id = d.event_id AND s.id = d.subscription_id
     RETURNING ${pendingDeliveryColumns('$2')}`,
    [ids, maxDataBytes, ...idRange(ids)],
  );
  return rows;
}
