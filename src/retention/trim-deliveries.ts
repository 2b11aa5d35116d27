import { idRange } from '../lib/id-range.ts';
import type { Queryable } from '../postgres/transaction.ts';
import { uuid7Floor, uuid7Time } from '../lib/uuid7.ts';

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

/** Up to `limit` ended deliveries of a subscription, the oldest first. */
export async function deliveriesToTrim(
  db: Queryable,
  { subscriptionId, beforeId, afterId, limit }: Trimming,
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `SELECT id FROM deliveries WHERE subscription_id = $1 AND id < $2 AND id > $3 AND status <> 'PENDING'
     ORDER BY id LIMIT $4`,
    [subscriptionId, beforeId, afterId, limit],
  );
  return rows.map(({ id }) => id);
}

/** Attempts are logged by another clock than the one that events, and so their deliveries, have their ids from. */
const SKEW_MS = 3_600_000;

/** Deletes these deliveries with their attempts, but for those that are pending again. Returns how many there were. */
export async function deleteDeliveries(db: Queryable, ids: readonly string[]): Promise<number> {
  const [least, greatest] = idRange(ids);
  const { rows } = await db.query<{ count: number }>(DELETE, [
    ids,
    least,
    greatest,
    uuid7Floor(Math.max(0, uuid7Time(least) - SKEW_MS)),
  ]);
  return rows[0]?.count ?? 0;
}

const DELETE = `
  WITH gone AS (
    DELETE FROM deliveries WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2 AND $3 AND status <> 'PENDING' RETURNING id
  ), logged AS (
    DELETE FROM attempts WHERE delivery_id = ANY (ARRAY(SELECT id FROM gone)) AND id >= $4
  )
  SELECT count(*)::integer AS count FROM gone`;
