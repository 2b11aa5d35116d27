import type { Queryable } from '../../postgres/transaction.ts';

/**
 * Notes that a subscription's attempts succeed again, or starts it over: its circuit is closed, what waits is released
 * at a ramp, and what the log says of before is forgotten.
 */
export async function closeCircuit(db: Queryable, subscriptionId: string): Promise<void> {
  await db.query(
    `UPDATE subscription_states SET failing_since = NULL, notice_count = 0, noticed_at = NULL, closed_at = now(),
       opened_at = NULL, probe_at = NULL, probe_wait_ms = NULL, next_due_at = now(),
       release_window = CASE WHEN opened_at IS NULL THEN release_window ELSE 1 END
     WHERE subscription_id = $1
     RETURNING pg_notify('webhook_subscription_changed', subscription_id::text)::text`,
    [subscriptionId],
  );
}
