import type { Queryable } from '../../postgres/transaction.ts';

export type LockedHealth = {
  readonly tenant: string;
  readonly url: string;
  readonly isOpen: boolean;
  /** Postgres's time, in milliseconds since 1970. */
  readonly nowMs: number;
  /** Attempts before this do not count against it; null: all do. */
  readonly closedAt: Date | null;
  /** Null: there has been a success just now. */
  readonly failingSince: Date | null;
  readonly failingForMs: number;
  readonly noticeCount: number;
  /** How long ago the last notice was given; 0 without one. */
  readonly noticedForMs: number;
};

/** Locks the state of a subscription until the transaction ends; undefined if it is inactive, deleted or unknown. */
export async function lockHealth(db: Queryable, subscriptionId: string): Promise<LockedHealth | undefined> {
  const { rows } = await db.query<LockedHealth>(
    `SELECT s.tenant, s.url, st.opened_at IS NOT NULL AS "isOpen",
       floor(extract(epoch FROM now()) * 1000)::float8 AS "nowMs", st.closed_at AS "closedAt",
       st.failing_since AS "failingSince", st.notice_count AS "noticeCount",
       coalesce(extract(epoch FROM now() - st.failing_since) * 1000, 0)::float8 AS "failingForMs",
       coalesce(extract(epoch FROM now() - st.noticed_at) * 1000, 0)::float8 AS "noticedForMs"
     FROM subscription_states st JOIN webhook_subscriptions s ON s.id = st.subscription_id
     WHERE st.subscription_id = $1 AND s.is_active AND s.deleted_at IS NULL FOR UPDATE OF st`,
    [subscriptionId],
  );
  return rows[0];
}
