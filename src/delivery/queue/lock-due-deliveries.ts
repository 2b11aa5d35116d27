import type { Queryable } from '../../postgres/transaction.ts';

export type DueDelivery = { readonly id: string; readonly subscriptionId: string };

/** Locks of each subscription up to so many deliveries that wait in Postgres and are due, the longest due first. */
export async function lockDueDeliveries(
  db: Queryable,
  limits: readonly { readonly subscriptionId: string; readonly count: number }[],
): Promise<DueDelivery[]> {
  const { rows } = await db.query<DueDelivery>(
    `SELECT due.id, queue.subscription_id AS "subscriptionId"
     FROM unnest($1::uuid[], $2::integer[]) AS queue (subscription_id, count)
     CROSS JOIN LATERAL (
       SELECT d.id FROM deliveries d
       WHERE d.subscription_id = queue.subscription_id AND d.status = 'PENDING' AND d.enqueued_at IS NULL
         AND d.next_attempt_at <= now()
       ORDER BY d.next_attempt_at LIMIT queue.count FOR UPDATE SKIP LOCKED
     ) AS due`,
    [limits.map(({ subscriptionId }) => subscriptionId), limits.map(({ count }) => count)],
  );
  return rows;
}
