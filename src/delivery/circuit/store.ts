import type { DeactivationReason } from '../../generated/prisma/enums.ts';
import type { Queryable } from '../../postgres/client.ts';

type LockedCircuitStats = {
  readonly tenant: string;
  readonly url: string;
  readonly isOpen: boolean;
  /** Postgres's time, in milliseconds since 1970. */
  readonly nowMs: number;
  /** Attempts that started before this time do not count; null: all attempts count. */
  readonly closedAt: Date | null;
  /** The first failure without a later success; null if the latest attempt succeeded. */
  readonly failingSince: Date | null;
  readonly failingForMs: number;
  readonly noticeCount: number;
  /** Milliseconds since the last notice; 0 without one. */
  readonly noticedForMs: number;
};

/** Locks the state of a subscription until the transaction ends; undefined if it is inactive, deleted or unknown. */
export async function lockCircuitStats(db: Queryable, subscriptionId: string): Promise<LockedCircuitStats | undefined> {
  const { rows } = await db.query<LockedCircuitStats>(
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

type RecentAttempts = {
  readonly failuresInARow: number;
  readonly recent: { readonly attempts: number; readonly failures: number };
};

type RecentAttemptsQuery = {
  readonly subscriptionId: string;
  /** Attempts that started before this time do not count: they may have been sent to another URL. */
  readonly since: Date;
  /** The smallest id of an attempt that was logged at or after `since`. */
  readonly sinceId: string;
  /** Number of latest attempts that are searched for a success. */
  readonly maxInARow: number;
  /** Attempts with smaller ids are not recent. */
  readonly recentSinceId: string;
  readonly maxRecent: number;
};

/** Reads the results of a subscription's latest attempts from the delivery log, without those of test events. */
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

type OpenCircuit = {
  readonly subscriptionId: string;
  readonly probeInMs: number;
  /** Stored in failing_since if that is null. */
  readonly failingSince: Date;
};

/**
 * Opens a subscription's circuit: the next delivery is sent as a probe in `probeInMs`, and all others stay queued. Notifies
 * senders on the channel of the trigger webhook_subscription_changed, so that they read the subscription again.
 */
export async function openCircuit(
  db: Queryable,
  { subscriptionId, probeInMs, failingSince }: OpenCircuit,
): Promise<void> {
  await db.query(
    `UPDATE subscription_states SET opened_at = now(), is_backlogged = true, publish_window = 1,
       probe_at = now() + $2 * interval '1 ms', probe_wait_ms = $2, next_sweep_at = now() + $2 * interval '1 ms',
       failing_since = coalesce(failing_since, $3)
     WHERE subscription_id = $1
     RETURNING pg_notify('webhook_subscription_changed', subscription_id::text)`,
    [subscriptionId, probeInMs, failingSince],
  );
}

/** Sends the next due delivery of an open circuit immediately, as a probe. Returns false if the circuit is closed. */
export async function requestProbe(db: Queryable, subscriptionId: string): Promise<boolean> {
  const { rows } = await db.query(
    `UPDATE subscription_states SET probe_at = now(), next_sweep_at = now()
     WHERE subscription_id = $1 AND opened_at IS NOT NULL RETURNING subscription_id`,
    [subscriptionId],
  );
  return rows.length > 0;
}

/** Stores the number of notices about a failing subscription, and the current time as that of the last one. */
export async function countNotice(
  db: Queryable,
  { subscriptionId, noticeCount }: { readonly subscriptionId: string; readonly noticeCount: number },
): Promise<void> {
  await db.query('UPDATE subscription_states SET notice_count = $2, noticed_at = now() WHERE subscription_id = $1', [
    subscriptionId,
    noticeCount,
  ]);
}

/** A deactivation by the engine. */
export type Deactivation = {
  readonly subscriptionId: string;
  readonly reason: DeactivationReason;
  /** `GONE`: the URL that was answered with 410. */
  readonly url?: string;
};

/**
 * Deactivates a subscription; undefined if it is not active, has another URL by now or, for `FAILING`, a closed circuit,
 * as after a change of its URL or a success. The trigger webhook_subscription_changed gives it a new
 * version and notifies the senders; webhook_subscription_matching_changed records the change for matching
 * (prisma/migrations/0001_initial/migration.sql).
 */
export async function deactivate(
  db: Queryable,
  { subscriptionId, reason, url }: Deactivation,
): Promise<{ readonly tenant: string; readonly url: string } | undefined> {
  const { rows } = await db.query<{ tenant: string; url: string }>(
    `UPDATE webhook_subscriptions SET is_active = false, deactivation_reason = $2::deactivation_reason
     WHERE id = $1 AND is_active AND deleted_at IS NULL AND url = coalesce($3, url)
       AND ($2::deactivation_reason <> 'FAILING'
         OR EXISTS (SELECT FROM subscription_states WHERE subscription_id = $1 AND opened_at IS NOT NULL))
     RETURNING tenant, url`,
    [subscriptionId, reason, url ?? null],
  );
  return rows[0];
}
