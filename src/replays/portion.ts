import { markCancelled, notifyCancelled } from '../delivery/queue/cancel.ts';
import { scheduleSweep } from '../delivery/queue/state.ts';
import { idRange } from '../lib/uuid7.ts';
import { recordChanges } from '../postgres/changes.ts';
import type { Queryable } from '../postgres/client.ts';
import type { Replayed, ReplayPortion } from './job.ts';

/**
 * Gives failed deliveries another attempt, and makes waiting ones due now: they are queued like all others of their
 * subscription. Skips deliveries that succeeded or were cancelled, are in flight or being recorded, or have an inactive
 * subscription or an event without data. The events are locked as those of a replay are.
 */
export async function retryDeliveries(db: Queryable, { deliveries, limit }: ReplayPortion): Promise<Replayed> {
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
      OR d.status = 'PENDING' AND d.enqueued_at IS NULL AND (d.leased_until IS NULL OR d.leased_until <= now())
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
export async function cancelDeliveries(db: Queryable, { deliveries, limit }: ReplayPortion): Promise<Replayed> {
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
