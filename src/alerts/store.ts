import type { Queryable } from '../postgres/client.ts';
import type { AlertKind, Condition } from './conditions.ts';

/*
 * A row of `alerts` is a condition that holds, or held within the last hour. It is sent once, and again if it still holds
 * after a day. The single row of `alert_schedule` ensures that only one process checks or sends per interval: the one whose
 * UPDATE advances the time. No lock is held between statements, so this works behind a pooler. A time in the future was set
 * before a failover to a Postgres whose clock is behind: it counts as past, because otherwise no process would check until
 * the clock has reached it.
 */

/** The row of a condition that has not held for an hour is deleted. If the condition holds again later, it is sent again. */
const FORGET_AFTER = `interval '1 hour'`;
const REPEAT_AFTER = `interval '1 day'`;
/** An alert that could not be sent is dropped when its condition has not held for this time. */
const DROP_AFTER = `interval '1 day'`;
/** Minimum interval between two updates of `seen_at`. */
const SEEN_PRECISION = `interval '5 minutes'`;

/** Returns whether this process is to check the conditions: one process of the installation, once in `intervalMs`. */
export async function claimCheck(db: Queryable, intervalMs: number): Promise<boolean> {
  const { rows } = await db.query(
    `UPDATE alert_schedule SET checked_at = now()
     WHERE checked_at <= now() - $1 * interval '1 ms' OR checked_at > now() RETURNING 1 AS turn`,
    [intervalMs],
  );
  return rows.length > 0;
}

/** Records the conditions that hold now, and deletes ended conditions and alerts that could not be sent. */
export async function recordConditions(db: Queryable, conditions: readonly Condition[]): Promise<void> {
  await db.query(
    `INSERT INTO alerts AS a (kind, subject, detail, raised_at, seen_at, next_try_at)
     SELECT kind, subject, detail, now(), now(), now() FROM unnest($1::text[], $2::text[], $3::jsonb[]) AS i (kind, subject, detail)
     ON CONFLICT (kind, subject) DO UPDATE SET seen_at = now(), detail = excluded.detail,
       raised_at = CASE WHEN a.sent_at <= now() - ${REPEAT_AFTER} THEN now() ELSE a.raised_at END,
       next_try_at = CASE WHEN a.sent_at <= now() - ${REPEAT_AFTER} THEN now() ELSE a.next_try_at END,
       try_count = CASE WHEN a.sent_at <= now() - ${REPEAT_AFTER} THEN 0 ELSE a.try_count END,
       sent_at = CASE WHEN a.sent_at <= now() - ${REPEAT_AFTER} THEN NULL ELSE a.sent_at END
     WHERE a.sent_at <= now() - ${REPEAT_AFTER} OR a.seen_at <= now() - ${SEEN_PRECISION}`,
    [
      conditions.map(({ kind }) => kind),
      conditions.map(({ subject }) => subject),
      conditions.map(({ detail }) => JSON.stringify(detail)),
    ],
  );
  await db.query(
    `DELETE FROM alerts WHERE sent_at IS NOT NULL AND seen_at <= now() - ${FORGET_AFTER}
       OR sent_at IS NULL AND seen_at <= now() - ${DROP_AFTER}`,
  );
}

/** An alert to be sent. */
export type Alert = Omit<Condition, 'kind'> & { readonly kind: AlertKind; readonly raisedAt: Date };

type ClaimOptions = {
  /** Minimum time between two requests of the installation. */
  readonly minIntervalMs: number;
  /** Delay before the second try. It doubles up to `maxRetryMs`. */
  readonly retryMs: number;
  readonly maxRetryMs: number;
};

/**
 * Returns the due alerts for one request; none within `minIntervalMs` after the last request. The alerts become due again
 * after the retry delay unless markSent is called.
 */
export async function claimDue(db: Queryable, { minIntervalMs, retryMs, maxRetryMs }: ClaimOptions): Promise<Alert[]> {
  const { rows } = await db.query<Alert>(
    `WITH turn AS (
       UPDATE alert_schedule SET requested_at = now()
       WHERE (requested_at <= now() - $1 * interval '1 ms' OR requested_at > now())
         AND EXISTS (SELECT FROM alerts WHERE next_try_at <= now())
       RETURNING 1
     )
     UPDATE alerts SET try_count = try_count + 1,
       next_try_at = now() + least($3, $2 * 2 ^ least(try_count, 30)) * interval '1 ms'
     WHERE next_try_at <= now() AND EXISTS (SELECT FROM turn)
     RETURNING kind, subject, detail, raised_at AS "raisedAt"`,
    [minIntervalMs, retryMs, maxRetryMs],
  );
  return rows;
}

export async function markSent(db: Queryable, alerts: readonly Alert[]): Promise<void> {
  await db.query(
    `UPDATE alerts a SET sent_at = now(), next_try_at = NULL
     FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS i (kind, subject, raised_at)
     WHERE a.kind = i.kind AND a.subject = i.subject AND a.raised_at = i.raised_at`,
    [alerts.map(({ kind }) => kind), alerts.map(({ subject }) => subject), alerts.map(({ raisedAt }) => raisedAt)],
  );
}
