import type { Queryable } from '../../postgres/transaction.ts';

export type RecentAttempts = {
  readonly failuresInARow: number;
  readonly recent: { readonly attempts: number; readonly failures: number };
};

export type RecentAttemptsQuery = {
  readonly subscriptionId: string;
  /** Attempts that were begun before do not count: they may have been made to another URL. */
  readonly since: Date;
  /** The least id that such an attempt can have. */
  readonly sinceId: string;
  /** Of the latest so many, how many failed in a row. */
  readonly maxInARow: number;
  /** Attempts with smaller ids are not recent. */
  readonly recentSinceId: string;
  readonly maxRecent: number;
};

/** Reads from the log how a subscription's latest attempts went; those of test events do not count. */
export async function recentAttempts(db: Queryable, query: RecentAttemptsQuery): Promise<RecentAttempts> {
  const { subscriptionId, since, sinceId, maxInARow, recentSinceId, maxRecent } = query;
  const { rows } = await db.query<{ failuresInARow: number; attempts: number; failures: number }>(
    `WITH latest AS (
       SELECT status, row_number() OVER (ORDER BY id DESC) AS position
       FROM (
         SELECT id, status FROM attempts WHERE subscription_id = $1 AND id >= $2::uuid AND started_at >= $6
           AND NOT is_test
         ORDER BY id DESC LIMIT $3
       ) AS a
     ), recent AS (
       SELECT status FROM attempts WHERE subscription_id = $1 AND id >= $4::uuid AND started_at >= $6
         AND NOT is_test
       ORDER BY id DESC LIMIT $5
     )
     SELECT
       coalesce((SELECT min(position) - 1 FROM latest WHERE status = 'SUCCESS'), (SELECT count(*) FROM latest))::integer
         AS "failuresInARow",
       (SELECT count(*) FROM recent)::integer AS attempts,
       (SELECT count(*) FROM recent WHERE status = 'FAILURE')::integer AS failures`,
    [subscriptionId, sinceId, maxInARow, recentSinceId, maxRecent, since],
  );
  const { failuresInARow = 0, attempts = 0, failures = 0 } = rows[0] ?? {};
  return { failuresInARow, recent: { attempts, failures } };
}
