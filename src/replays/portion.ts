import { markCancelled, notifyCancelled } from '../delivery/queue/cancel.ts';
import { scheduleSweep } from '../delivery/queue/state.ts';
import { IS_DELAYED } from '../delivery/queue/store.ts';
import { idRange, uuid7Floor, uuid7Time } from '../lib/uuid7.ts';
import { recordChanges } from '../postgres/changes.ts';
import type { Queryable } from '../postgres/client.ts';

type ReplayedDelivery = {
  /** The id of the new delivery, not older than the replay's id. */
  readonly id: string;
  /** The id of the delivery that the filter found. */
  readonly pastId: string;
  readonly subscriptionId: string;
  /** events.id */
  readonly eventRowId: string;
};

export type ReplayPortion = {
  readonly replayId: string;
  readonly deliveries: readonly ReplayedDelivery[];
  /** Maximum number of deliveries to create. */
  readonly limit: number;
};

/**
 * `changed`: number of new, retried or cancelled deliveries. `processed`: number of deliveries from the start of the
 * portion that were replayed, retried, cancelled or skipped.
 */
export type Processed = { readonly changed: number; readonly processed: number };

/**
 * Creates new deliveries of events that still exist, for active subscriptions and for which the replay has created none
 * yet. They are queued like all others of their subscription, so nothing has to be published after the commit. The
 * events are locked so that they are neither deleted nor redacted before the pending deliveries are visible. The caller
 * has locked the replay (claimReplay).
 */
export async function insertReplayed(
  db: Queryable,
  { replayId, deliveries, limit }: ReplayPortion,
): Promise<Processed> {
  const eventRowIds = deliveries.map(({ eventRowId }) => eventRowId);
  const { rows } = await db.query<{ created: number; last: number }>(INSERT_REPLAYED, [
    deliveries.map(({ id }) => id),
    deliveries.map(({ subscriptionId }) => subscriptionId),
    eventRowIds,
    replayId,
    ...idRange(eventRowIds),
    uuid7Floor(uuid7Time(replayId)),
    limit,
  ]);
  const { created = 0, last = 0 } = rows[0] ?? {};
  return { changed: created, processed: created < limit ? deliveries.length : last };
}

// The bound $7 on ids lets Postgres prune partitions. The sub-select that finds a delivery which the replay has already
// created runs row by row: as a NOT EXISTS, which is a join, Postgres may read all of them for each batch.
const INSERT_REPLAYED = `
  WITH event AS (
    SELECT id, tenant, type FROM events
    WHERE id = ANY ($3::uuid[]) AND id BETWEEN $5::uuid AND $6::uuid AND redacted_at IS NULL FOR SHARE
  ), candidate AS (
    SELECT DISTINCT ON (event_id, subscription_id) id, subscription_id, event_id, position
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS input (id, subscription_id, event_id, position)
    ORDER BY event_id, subscription_id, position
  ), new_delivery AS (
    SELECT c.id, event.tenant, c.subscription_id, c.event_id, event.type, c.position
    FROM candidate c
    JOIN event ON event.id = c.event_id
    JOIN webhook_subscriptions s ON s.id = c.subscription_id AND s.is_active AND s.deleted_at IS NULL
    WHERE (
      SELECT d.id FROM deliveries d
      WHERE d.replay_id = $4::uuid AND d.event_id = c.event_id AND d.subscription_id = c.subscription_id
        AND d.id >= $7::uuid LIMIT 1
    ) IS NULL
    ORDER BY c.position LIMIT $8::integer
  ), inserted AS (
    INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at, replay_id)
    SELECT id, tenant, subscription_id, event_id, type, now(), $4::uuid FROM new_delivery
    RETURNING id, subscription_id, next_attempt_at
  ), ${recordChanges({ deliveries: 'inserted' })}${scheduleSweep('inserted')}
  RETURNING (SELECT count(*) FROM inserted)::integer AS created,
    (SELECT max(position) FROM new_delivery)::integer AS last`;

export type SkippedBy = {
  /** Number of deliveries whose event is no longer kept, or was redacted. */
  readonly withoutEvent: number;
  /** Number of deliveries whose event exists, and whose webhook subscription is inactive or deleted. */
  readonly inactive: number;
};

/** Counts by reason the deliveries for which a replay creates no new ones. Duplicates are not counted. */
export async function countSkipped(db: Queryable, deliveries: readonly ReplayedDelivery[]): Promise<SkippedBy> {
  const eventRowIds = deliveries.map(({ eventRowId }) => eventRowId);
  const subscriptionIds = deliveries.map(({ subscriptionId }) => subscriptionId);
  const { rows } = await db.query<SkippedBy>(SKIPPED, [eventRowIds, subscriptionIds, ...idRange(eventRowIds)]);
  return rows[0] ?? { withoutEvent: 0, inactive: 0 };
}

const SKIPPED = `
  SELECT count(*) FILTER (WHERE event.id IS NULL)::integer AS "withoutEvent",
    count(*) FILTER (WHERE event.id IS NOT NULL AND s.id IS NULL)::integer AS inactive
  FROM unnest($1::uuid[], $2::uuid[]) AS past (event_id, subscription_id)
  LEFT JOIN LATERAL (
    SELECT id FROM events e
    WHERE e.id = past.event_id AND e.id BETWEEN $3::uuid AND $4::uuid AND e.redacted_at IS NULL OFFSET 0
  ) AS event ON true
  LEFT JOIN webhook_subscriptions s ON s.id = past.subscription_id AND s.is_active AND s.deleted_at IS NULL`;

/**
 * Gives failed deliveries another attempt, and makes waiting ones due now: they are queued like all others of their
 * subscription. Skips deliveries that succeeded or were cancelled, are in flight or being recorded, or have an inactive
 * subscription or an event without data. The events are locked as those of a replay are.
 */
export async function retryDeliveries(db: Queryable, { deliveries, limit }: ReplayPortion): Promise<Processed> {
  const ids = deliveries.map(({ pastId }) => pastId);
  const eventRowIds = deliveries.map(({ eventRowId }) => eventRowId);
  const { rows } = await db.query<{ count: number; last: number }>(RETRY, [
    ids,
    ...idRange(ids),
    eventRowIds,
    ...idRange(eventRowIds),
    limit,
  ]);
  const { count = 0, last = 0 } = rows[0] ?? {};
  return { changed: count, processed: count < limit ? deliveries.length : last };
}

// A published delivery that is not due waits in JetStream. Its message is ignored after the sweeper has published another
// one. A delivery may be leased one second before it is due (store.ts).
const RETRY = `
  WITH event AS (
    SELECT id FROM events
    WHERE id = ANY ($4::uuid[]) AND id BETWEEN $5::uuid AND $6::uuid AND redacted_at IS NULL FOR SHARE
  ), candidate AS (
    SELECT d.id, input.position FROM unnest($1::uuid[]) WITH ORDINALITY AS input (id, position)
    JOIN deliveries d ON d.id = input.id AND d.id BETWEEN $2::uuid AND $3::uuid
    JOIN event ON event.id = d.event_id
    JOIN webhook_subscriptions s ON s.id = d.subscription_id AND s.is_active AND s.deleted_at IS NULL
    WHERE d.status = 'FAILURE'
      OR d.status = 'PENDING' AND (d.enqueued_at IS NULL OR d.next_attempt_at > now() + interval '1 s')
        AND (d.leased_until IS NULL OR d.leased_until <= now()) AND (${IS_DELAYED}) IS NOT TRUE
    ORDER BY input.position LIMIT $7::integer FOR NO KEY UPDATE OF d SKIP LOCKED
  ), retried AS (
    UPDATE deliveries d SET status = 'PENDING', completed_at = NULL, next_attempt_at = now(), waiting_for = NULL,
      enqueued_at = NULL, leased_until = NULL
    FROM candidate WHERE d.id = candidate.id AND d.id BETWEEN $2::uuid AND $3::uuid
    RETURNING d.id, d.subscription_id, d.next_attempt_at
  ), ${recordChanges({ deliveries: 'retried' })}${scheduleSweep('retried')}
  RETURNING (SELECT count(*) FROM retried)::integer AS count,
    (SELECT max(position) FROM candidate)::integer AS last`;

/** Cancels pending deliveries. Skips those that have ended or are being recorded. An attempt in flight is finished. */
export async function cancelDeliveries(db: Queryable, { deliveries, limit }: ReplayPortion): Promise<Processed> {
  const considered = deliveries.slice(0, limit).map(({ pastId }) => pastId);
  const { rows } = await db.query<{ id: string }>(PENDING, [considered, ...idRange(considered)]);
  const ids = rows.map(({ id }) => id);
  if (ids.length > 0) {
    await markCancelled(db, ids);
    await notifyCancelled(db, ids);
  }
  return { changed: ids.length, processed: considered.length };
}

const PENDING = `
  SELECT id FROM deliveries WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid AND status = 'PENDING'
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED`;
