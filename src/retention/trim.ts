import { idRange, leastChildId, uuid7Floor } from '../lib/uuid7.ts';
import type { Queryable } from '../postgres/client.ts';
import { type Deadline, hasTime, inBatches } from './expired-rows.ts';

/** A position before the first subscription or delivery. */
export const LOWEST_ID = uuid7Floor(0);
/** Maximum deliveries that one statement deletes. */
const BATCH = 500;
/** Maximum subscriptions that one statement reads. */
const SUBSCRIPTIONS = 200;

type TrimmingRound = {
  /** Number of ended deliveries that each subscription keeps. */
  readonly keep: number;
  /** The round starts with the subscription after this id. */
  readonly afterId: string;
  readonly deadline: Deadline;
};

/**
 * Deletes the oldest ended deliveries beyond `keep` of each subscription. Returns their number and the position to continue
 * from; undefined after the last subscription.
 */
export async function trimSubscriptions(
  db: Queryable,
  { keep, afterId, deadline }: TrimmingRound,
): Promise<{ readonly count: number; readonly nextAfterId: string | undefined }> {
  let total = 0;
  let doneId = afterId;
  for (;;) {
    const ids = await subscriptionsAfter(db, { afterId: doneId, limit: SUBSCRIPTIONS });
    for (const subscriptionId of ids) {
      if (!hasTime(deadline)) return { count: total, nextAfterId: doneId };
      const { count, isDone } = await trimOne(db, { subscriptionId, keep, deadline });
      total += count;
      if (!isDone) return { count: total, nextAfterId: doneId };
      doneId = subscriptionId;
    }
    if (ids.length < SUBSCRIPTIONS) return { count: total, nextAfterId: undefined };
  }
}

type SubscriptionTrimming = { readonly subscriptionId: string; readonly keep: number; readonly deadline: Deadline };

async function trimOne(
  db: Queryable,
  { subscriptionId, keep, deadline }: SubscriptionTrimming,
): Promise<{ readonly count: number; readonly isDone: boolean }> {
  const beforeId = await oldestToKeep(db, { subscriptionId, keep });
  if (beforeId === undefined) return { count: 0, isDone: true };
  let total = 0;
  let afterId = LOWEST_ID;
  const isDone = await inBatches(deadline, async () => {
    const ids = await deliveriesToTrim(db, { subscriptionId, beforeId, afterId, limit: BATCH });
    if (ids.length > 0) total += await deleteDeliveries(db, ids);
    afterId = ids.at(-1) ?? afterId;
    return ids.length < BATCH ? 'done' : 'more';
  });
  return { count: total, isDone };
}

/** The oldest of the newest `keep` ended deliveries of a subscription; undefined if it has fewer. */
async function oldestToKeep(
  db: Queryable,
  { subscriptionId, keep }: { readonly subscriptionId: string; readonly keep: number },
): Promise<string | undefined> {
  const { rows } = await db.query<{ id: string }>(
    `SELECT id FROM deliveries WHERE subscription_id = $1 AND status <> 'PENDING' ORDER BY id DESC OFFSET $2 LIMIT 1`,
    [subscriptionId, keep - 1],
  );
  return rows[0]?.id;
}

type Trimming = {
  readonly subscriptionId: string;
  /** The range of ids to search, both bounds excluded. */
  readonly beforeId: string;
  readonly afterId: string;
  readonly limit: number;
};

/** Up to `limit` ended deliveries of a subscription, the oldest first. */
async function deliveriesToTrim(
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

/** Deletes these deliveries with their attempts, except those that are pending again, and returns their number. */
async function deleteDeliveries(db: Queryable, ids: readonly string[]): Promise<number> {
  const [least, greatest] = idRange(ids);
  const { rows } = await db.query<{ count: number }>(DELETE, [ids, least, greatest, leastChildId(least)]);
  return rows[0]?.count ?? 0;
}

const DELETE = `
  WITH deleted_delivery AS (
    DELETE FROM deliveries WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2 AND $3 AND status <> 'PENDING' RETURNING id
  ), deleted_attempt AS (
    DELETE FROM attempts WHERE delivery_id = ANY (ARRAY(SELECT id FROM deleted_delivery)) AND id >= $4
  )
  SELECT count(*)::integer AS count FROM deleted_delivery`;

/** The ids of the next `limit` webhook subscriptions, including deleted ones, in ascending order. */
async function subscriptionsAfter(
  db: Queryable,
  { afterId, limit }: { readonly afterId: string; readonly limit: number },
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    'SELECT id FROM webhook_subscriptions WHERE id > $1 ORDER BY id LIMIT $2',
    [afterId, limit],
  );
  return rows.map(({ id }) => id);
}
