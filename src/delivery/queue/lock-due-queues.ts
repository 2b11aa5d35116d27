import type { Queryable } from '../../postgres/transaction.ts';

/** A subscription whose waiting deliveries have to be looked after now. */
export type DueQueue = {
  readonly subscriptionId: string;
  readonly tenant: string;
  /** False once it is inactive or deleted. */
  readonly isActive: boolean;
  readonly maxInFlight: number;
  readonly rateLimitPerSecond: number | null;
  readonly isBacklogged: boolean;
  readonly releaseWindow: number | null;
  /** How many deliveries are with JetStream and the senders; counted only while there is a backlog, to 2,000 at most. */
  readonly liveCount: number;
  /**
   * Those of them whose attempt can still be expected. A sender that was killed, or stands still, keeps the others until
   * their ack wait is over.
   */
  readonly expectedCount: number;
  /** Of an open circuit, else null. */
  readonly probe: { readonly inMs: number; readonly waitMs: number } | null;
  /** With a rate limit: in how many milliseconds the first moment comes that no attempt has been given yet. */
  readonly nextSlotInMs: number;
};

/** An attempt begins so much later than it was published, or not soon: a sender keeps what has no room for a second. */
const QUEUEING_MS = 3_000;

/** Of the subscriptions that are due, so many are compared, the longest due first, */
const MAX_COMPARED = 5_000;
/** and so many times those wanted are chosen, because another process may hold some. */
const SPARE = 4;

/**
 * Locks up to `limit` subscriptions that are due to be looked after, until the transaction ends: the longest due one of each
 * tenant first, then the second of each, and so on. Any number of processes may do this at once; none gets one that another
 * one has.
 */
export async function lockDueQueues(db: Queryable, limit: number): Promise<DueQueue[]> {
  const { rows } = await db.query<DueQueue>(STATEMENT, [limit, QUEUEING_MS, MAX_COMPARED, limit * SPARE]);
  return rows;
}

const STATEMENT = `
  WITH compared AS (
    SELECT st.subscription_id, st.next_due_at,
      row_number() OVER (PARTITION BY s.tenant ORDER BY st.next_due_at) AS place
    FROM (
      SELECT subscription_id, next_due_at FROM subscription_states WHERE next_due_at <= now() ORDER BY next_due_at LIMIT $3
    ) AS st
    JOIN webhook_subscriptions s ON s.id = st.subscription_id
  ), chosen AS (
    SELECT subscription_id, place FROM compared ORDER BY place, next_due_at LIMIT $4
  )
  SELECT st.subscription_id AS "subscriptionId", s.tenant, s.is_active AND s.deleted_at IS NULL AS "isActive",
    s.max_in_flight AS "maxInFlight", s.rate_limit_per_second AS "rateLimitPerSecond",
    st.is_backlogged AS "isBacklogged", st.release_window AS "releaseWindow",
    coalesce(live.count, 0)::integer AS "liveCount", coalesce(live.expected, 0)::integer AS "expectedCount",
    CASE WHEN st.opened_at IS NOT NULL THEN json_build_object(
      'inMs', extract(epoch FROM st.probe_at - now()) * 1000, 'waitMs', st.probe_wait_ms
    ) END AS probe,
    greatest(0, coalesce(extract(epoch FROM st.next_slot_at - now()) * 1000, 0))::float8 AS "nextSlotInMs"
  FROM chosen JOIN subscription_states st USING (subscription_id)
  JOIN webhook_subscriptions s ON s.id = st.subscription_id
  LEFT JOIN LATERAL (
    SELECT count(*), count(*) FILTER (
      WHERE greatest(d.enqueued_at, d.next_attempt_at) > now() - (s.timeout_ms + $2) * interval '1 ms'
    ) AS expected
    FROM (
      SELECT enqueued_at, next_attempt_at FROM deliveries WHERE subscription_id = st.subscription_id
        AND status = 'PENDING' AND enqueued_at IS NOT NULL AND next_attempt_at <= now() LIMIT 2000
    ) AS d
  ) AS live ON st.is_backlogged
  WHERE st.next_due_at <= now()
  ORDER BY chosen.place, st.next_due_at LIMIT $1 FOR UPDATE OF st SKIP LOCKED`;
