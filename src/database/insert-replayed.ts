import { idRange } from './id-range.ts';
import type { Queryable } from './transaction.ts';
import { wakeQueues } from './wake-queues.ts';

export type ReplayedDelivery = {
  /** Of the new delivery. */
  readonly id: string;
  readonly subscriptionId: string;
  /** The event's row. */
  readonly eventRowId: string;
};

/**
 * Makes new deliveries of events that are kept, for subscriptions that are active, and returns how many; one that
 * exists is left alone. They wait in Postgres for the sweeper, with whatever else waits for the same subscription, so
 * that nothing has to be published after the commit. The events are held, so that they do not go before the deliveries
 * that need them are seen to be pending.
 */
export async function insertReplayed(
  db: Queryable,
  { replayId, deliveries }: { readonly replayId: string; readonly deliveries: readonly ReplayedDelivery[] },
): Promise<number> {
  const eventRowIds = deliveries.map(({ eventRowId }) => eventRowId);
  const { rows } = await db.query<{ count: number }>(STATEMENT, [
    deliveries.map(({ id }) => id),
    deliveries.map(({ subscriptionId }) => subscriptionId),
    eventRowIds,
    replayId,
    ...idRange(eventRowIds),
  ]);
  return rows[0]?.count ?? 0;
}

const STATEMENT = `
  WITH event AS (
    SELECT id, tenant, type FROM events
    WHERE id = ANY ($3::uuid[]) AND id BETWEEN $5::uuid AND $6::uuid FOR KEY SHARE
  ), inserted AS (
    INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at, replay_id)
    SELECT n.id, event.tenant, s.id, event.id, event.type, now(), $4::uuid
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS n (id, subscription_id, event_id)
    JOIN event ON event.id = n.event_id
    JOIN webhook_subscriptions s ON s.id = n.subscription_id AND s.is_active AND s.deleted_at IS NULL
    ON CONFLICT DO NOTHING
    RETURNING subscription_id, next_attempt_at
  )${wakeQueues('inserted')} RETURNING (SELECT count(*) FROM inserted)::integer AS count`;
