import type { Queryable } from '../../postgres/transaction.ts';

export type OpenCircuit = {
  readonly subscriptionId: string;
  readonly probeInMs: number;
  /** What to note if nothing is noted yet. */
  readonly failingSince: Date;
};

/** Opens a subscription's circuit: the next delivery is sent as a probe in `probeInMs`, and all others wait. */
export async function openCircuit(
  db: Queryable,
  { subscriptionId, probeInMs, failingSince }: OpenCircuit,
): Promise<void> {
  await db.query(
    `UPDATE subscription_states SET opened_at = now(), is_backlogged = true, release_window = 1,
       probe_at = now() + $2 * interval '1 ms', probe_wait_ms = $2, next_due_at = now() + $2 * interval '1 ms',
       failing_since = coalesce(failing_since, $3)
     WHERE subscription_id = $1
     RETURNING pg_notify('webhook_subscription_changed', subscription_id::text)`,
    [subscriptionId, probeInMs, failingSince],
  );
}
