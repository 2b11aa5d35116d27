import type { Queryable } from './transaction.ts';

/** Opens a subscription's circuit: the next delivery is sent as a probe in `probeInMs`, and all others wait. */
export async function openCircuit(
  db: Queryable,
  { subscriptionId, probeInMs }: { readonly subscriptionId: string; readonly probeInMs: number },
): Promise<void> {
  await db.query(
    `WITH opened AS (
       UPDATE subscription_states SET opened_at = now(), is_backlogged = true, release_window = 1,
         probe_at = now() + $2 * interval '1 ms', probe_wait_ms = $2, next_due_at = now() + $2 * interval '1 ms',
         notice_count = greatest(notice_count, 1), failing_since = coalesce(failing_since, now())
       WHERE subscription_id = $1
     )
     SELECT pg_notify('webhook_subscription_changed', $1::uuid::text)`,
    [subscriptionId, probeInMs],
  );
}
