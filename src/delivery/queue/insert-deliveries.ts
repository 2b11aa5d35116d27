import type { Queryable } from '../../postgres/transaction.ts';

export type NewDelivery = {
  readonly id: string;
  readonly tenant: string;
  readonly subscriptionId: string;
  /** The event's row. */
  readonly eventRowId: string;
  readonly eventType: string;
  /** Whether its first message is left to the sweeper in any case, which releases as many as senders have room for. */
  readonly isQueued?: boolean;
};

/**
 * Inserts deliveries and returns the ids of those whose first message is to be published now. The others wait in
 * Postgres: those that are queued, and those of a subscription that has a backlog; a test waits for no other. No state is
 * locked for the latter: the sweeper looks again some time after a backlog seems to be gone.
 */
export async function insertDeliveries(
  db: Queryable,
  { deliveries, isTest }: { readonly deliveries: readonly NewDelivery[]; readonly isTest: boolean },
): Promise<Set<string>> {
  const { rows } = await db.query<{ id: string; isEnqueued: boolean }>(STATEMENT, [
    deliveries.map((delivery) => delivery.id),
    deliveries.map((delivery) => delivery.tenant),
    deliveries.map((delivery) => delivery.subscriptionId),
    deliveries.map((delivery) => delivery.eventRowId),
    deliveries.map((delivery) => delivery.eventType),
    isTest,
    deliveries.map((delivery) => delivery.isQueued ?? false),
  ]);
  const queued = deliveries.filter(({ isQueued }) => isQueued);
  if (queued.length > 0) await db.query(BEGIN_BACKLOG, [queued.map(({ subscriptionId }) => subscriptionId)]);
  return new Set(rows.filter(({ isEnqueued }) => isEnqueued).map(({ id }) => id));
}

const STATEMENT = `
  INSERT INTO deliveries
    (id, tenant, subscription_id, event_id, event_type, next_attempt_at, enqueued_at, enqueue_count, waiting_for,
     is_test)
  SELECT n.id, n.tenant, n.subscription_id, n.event_id, n.event_type, now(),
    CASE WHEN waits THEN NULL ELSE now() END, CASE WHEN waits THEN 0 ELSE 1 END,
    CASE WHEN waits THEN (CASE WHEN st.opened_at IS NULL THEN 'IN_FLIGHT_LIMIT' ELSE 'CIRCUIT_OPEN' END)::wait_reason END,
    $6::boolean
  FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $7::boolean[])
    AS n (id, tenant, subscription_id, event_id, event_type, is_queued)
  LEFT JOIN subscription_states st ON st.subscription_id = n.subscription_id
  CROSS JOIN LATERAL (
    SELECT n.is_queued OR coalesce(st.is_backlogged, false) AND NOT $6::boolean
  ) AS w (waits)
  ON CONFLICT DO NOTHING
  RETURNING id, enqueued_at IS NOT NULL AS "isEnqueued"`;

/** In the order in which everybody locks states (see wake-queues.ts); in the same transaction, so that no sweep misses them. */
const BEGIN_BACKLOG = `
  WITH begun AS (
    SELECT subscription_id FROM subscription_states WHERE subscription_id = ANY ($1::uuid[]) AND NOT is_backlogged
    ORDER BY subscription_id FOR UPDATE
  )
  UPDATE subscription_states st SET is_backlogged = true, next_due_at = least(st.next_due_at, now())
  FROM begun WHERE st.subscription_id = begun.subscription_id`;
