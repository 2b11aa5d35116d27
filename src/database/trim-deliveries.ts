import type { Queryable } from './transaction.ts';

/** The oldest of the newest `keep` ended deliveries of a subscription; undefined if it has no more than that. */
export async function oldestToKeep(
  db: Queryable,
  { subscriptionId, keep }: { readonly subscriptionId: string; readonly keep: number },
): Promise<string | undefined> {
  const { rows } = await db.query<{ id: string }>(
    `SELECT id FROM deliveries WHERE subscription_id = $1 AND status <> 'PENDING' ORDER BY id DESC OFFSET $2 LIMIT 1`,
    [subscriptionId, keep - 1],
  );
  return rows[0]?.id;
}

export type Trimming = {
  readonly subscriptionId: string;
  /** Older ones go, but not those up to `afterId`. */
  readonly beforeId: string;
  readonly afterId: string;
  readonly limit: number;
};

/**
 * Deletes up to `limit` ended deliveries of a subscription with their attempts, the oldest first. Returns how many, and
 * the id of the last; undefined if there are no more.
 */
export async function trimDeliveries(
  db: Queryable,
  { subscriptionId, beforeId, afterId, limit }: Trimming,
): Promise<{ readonly count: number; readonly lastId: string | undefined }> {
  const { rows } = await db.query<{ count: number; last: string | null }>(STATEMENT, [
    subscriptionId,
    beforeId,
    afterId,
    limit,
  ]);
  const { count = 0, last = null } = rows[0] ?? {};
  return { count, lastId: count < limit ? undefined : (last ?? undefined) };
}

const STATEMENT = `
  WITH old AS (
    SELECT id FROM deliveries
    WHERE subscription_id = $1 AND id < $2 AND id > $3 AND status <> 'PENDING'
    ORDER BY id LIMIT $4 FOR UPDATE
  ), logged AS (
    DELETE FROM attempts a USING old WHERE a.delivery_id = old.id
  ), gone AS (
    DELETE FROM deliveries d USING old WHERE d.id = old.id AND d.id < $2 AND d.id > $3
  )
  SELECT count(*)::integer AS count, max(id::text) AS last FROM old`;
