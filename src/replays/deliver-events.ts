import { scheduleSweep } from '../delivery/queue/state.ts';
import { eventRowIds } from '../events/store.ts';
import { idRange, uuid7 } from '../lib/uuid7.ts';
import { recordChanges } from '../postgres/changes.ts';
import { type Database, mutate } from '../postgres/client.ts';

/** Maximum events per call. Bounds the statement, and the burst on the endpoint. */
export const MAX_EVENTS = 200;

type EventsToDeliver = {
  readonly tenant: string;
  /** An active webhook subscription of the tenant. */
  readonly subscriptionId: string;
  /** Publishers' ids, without NUL. */
  readonly eventIds: readonly string[];
};

/**
 * Creates a delivery of each event to one webhook subscription, regardless of the subscription's event types and
 * filter, and returns the ids. Omits events that are not kept, were redacted or belong to another tenant, and events
 * with a pending delivery to the subscription. The deliveries are queued like those of a replay.
 */
export async function deliverEvents(
  database: Pick<Database, 'pool' | 'clock' | 'recorder'>,
  { tenant, subscriptionId, eventIds }: EventsToDeliver,
): Promise<readonly string[]> {
  const rowIds = await eventRowIds(database.pool, { tenant, eventIds });
  if (rowIds.length === 0) return [];
  const now = database.clock.now();
  const ids = rowIds.map(() => uuid7(now));
  const parameters = [ids, rowIds, tenant, subscriptionId, ...idRange(rowIds)];
  return mutate(database, async (db) => {
    // Concurrent calls for one subscription take turns. In a statement of its own, so that the next one sees the pending
    // deliveries of the call before.
    await db.query('SELECT FROM webhook_subscriptions WHERE id = $1 FOR NO KEY UPDATE', [subscriptionId]);
    const { rows } = await db.query<{ ids: string[] | null }>(DELIVER_EVENTS, parameters);
    return rows[0]?.ids ?? [];
  });
}

// The events are locked so that they are neither deleted nor redacted before the pending deliveries are visible.
const DELIVER_EVENTS = `
  WITH event AS (
    SELECT id, type FROM events
    WHERE id = ANY ($2::uuid[]) AND id BETWEEN $5::uuid AND $6::uuid AND tenant = $3 AND redacted_at IS NULL
    FOR SHARE
  ), inserted AS (
    INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at)
    SELECT input.id, $3, s.id, event.id, event.type, now()
    FROM unnest($1::uuid[], $2::uuid[]) AS input (id, event_id)
    JOIN event ON event.id = input.event_id
    JOIN webhook_subscriptions s ON s.id = $4 AND s.tenant = $3 AND s.is_active AND s.deleted_at IS NULL
    WHERE NOT EXISTS (
      SELECT FROM deliveries d WHERE d.event_id = event.id AND d.subscription_id = s.id AND d.status = 'PENDING'
    )
    RETURNING id, subscription_id, next_attempt_at
  ), ${recordChanges({ deliveries: 'inserted' })}${scheduleSweep('inserted')}
  RETURNING (SELECT array_agg(id ORDER BY id) FROM inserted) AS ids`;
