import { idRange } from '../lib/id-range.ts';
import type { Queryable } from '../postgres/transaction.ts';
import { uuid7Floor, uuid7Time } from '../lib/uuid7.ts';
import { wakeQueues } from '../delivery/queue/wake-queues.ts';

type ReplayedDelivery = {
  /** Of the new delivery; not older than the replay's. */
  readonly id: string;
  readonly subscriptionId: string;
  /** The event's row. */
  readonly eventRowId: string;
};

type ReplayPortion = {
  readonly replayId: string;
  readonly deliveries: readonly ReplayedDelivery[];
  /** How many to make of them at most. */
  readonly limit: number;
};

/** How many deliveries were made, and of how many of those given that was: what comes after them was not looked at. */
type Replayed = { readonly made: number; readonly dealtWith: number };

/**
 * Makes new deliveries, from the first of those given on, of events that are kept, for subscriptions that are active, and
 * for which the replay has made none yet. They wait in Postgres for the sweeper, with whatever else waits for the same
 * subscription, so that nothing has to be published after the commit. The events are held, so that they do not go before
 * the deliveries that need them are seen to be pending. To be called with the replay held: nobody else makes any for it.
 */
export async function insertReplayed(db: Queryable, { replayId, deliveries, limit }: ReplayPortion): Promise<Replayed> {
  const eventRowIds = deliveries.map(({ eventRowId }) => eventRowId);
  const { rows } = await db.query<{ made: number; last: number }>(STATEMENT, [
    deliveries.map(({ id }) => id),
    deliveries.map(({ subscriptionId }) => subscriptionId),
    eventRowIds,
    replayId,
    ...idRange(eventRowIds),
    uuid7Floor(uuid7Time(replayId)),
    limit,
  ]);
  const { made = 0, last = 0 } = rows[0] ?? {};
  return { made, dealtWith: made < limit ? deliveries.length : last };
}

// The bound on the ids of what the replay has made is for Postgres to leave out older partitions. It is looked for row by
// row: as a NOT EXISTS, which is a join, Postgres may read all that the replay has made for each batch.
const STATEMENT = `
  WITH event AS (
    SELECT id, tenant, type FROM events
    WHERE id = ANY ($3::uuid[]) AND id BETWEEN $5::uuid AND $6::uuid FOR KEY SHARE
  ), given AS (
    SELECT DISTINCT ON (event_id, subscription_id) id, subscription_id, event_id, place
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS g (id, subscription_id, event_id, place)
    ORDER BY event_id, subscription_id, place
  ), chosen AS (
    SELECT n.id, event.tenant, n.subscription_id, n.event_id, event.type, n.place
    FROM given n
    JOIN event ON event.id = n.event_id
    JOIN webhook_subscriptions s ON s.id = n.subscription_id AND s.is_active AND s.deleted_at IS NULL
    WHERE (
      SELECT made.id FROM deliveries made
      WHERE made.replay_id = $4::uuid AND made.event_id = n.event_id AND made.subscription_id = n.subscription_id
        AND made.id >= $7::uuid LIMIT 1
    ) IS NULL
    ORDER BY n.place LIMIT $8::integer
  ), inserted AS (
    INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at, replay_id)
    SELECT id, tenant, subscription_id, event_id, type, now(), $4::uuid FROM chosen
    RETURNING subscription_id, next_attempt_at
  )${wakeQueues('inserted')}
  RETURNING (SELECT count(*) FROM inserted)::integer AS made, (SELECT max(place) FROM chosen)::integer AS last`;
