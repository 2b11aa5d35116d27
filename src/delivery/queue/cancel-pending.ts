import type { Queryable } from '../../postgres/transaction.ts';

/**
 * Cancels up to `limit` pending deliveries of a subscription that nobody is just changing, and returns whether there are
 * more. It waits for nobody: the sweeper calls it with the state locked that others lock after the deliveries.
 */
export async function cancelPending(
  db: Queryable,
  { subscriptionId, limit }: { readonly subscriptionId: string; readonly limit: number },
): Promise<boolean> {
  const { rows } = await db.query<{ hasMore: boolean }>(STATEMENT, [subscriptionId, limit]);
  return rows[0]?.hasMore === true;
}

const PENDING = `SELECT id FROM deliveries WHERE subscription_id = $1::uuid AND status = 'PENDING'`;
// Each has an index of its own.
const ENQUEUED = `${PENDING} AND enqueued_at IS NOT NULL`;
const WAITING = `${PENDING} AND enqueued_at IS NULL`;

const STATEMENT = `
  WITH enqueued AS (
    ${ENQUEUED} LIMIT $2::integer FOR UPDATE SKIP LOCKED
  ), waiting AS (
    ${WAITING} LIMIT $2::integer FOR UPDATE SKIP LOCKED
  ), cancelled AS (
    UPDATE deliveries d SET status = 'CANCELLED', completed_at = now(), next_attempt_at = NULL, waiting_for = NULL,
      enqueued_at = NULL
    WHERE d.id = ANY (ARRAY(SELECT id FROM enqueued UNION ALL SELECT id FROM waiting LIMIT $2::integer))
    RETURNING d.id
  )
  SELECT EXISTS (${ENQUEUED} AND id NOT IN (SELECT id FROM cancelled))
    OR EXISTS (${WAITING} AND id NOT IN (SELECT id FROM cancelled)) AS "hasMore"`;
