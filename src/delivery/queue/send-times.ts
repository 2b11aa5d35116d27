import { Batcher } from '../../postgres/batcher.ts';
import type { Database, Queryable } from '../../postgres/client.ts';

/** Milliseconds ahead for which send times are reserved. A delivery that would have to wait longer is requeued. */
export const SEND_TIME_HORIZON_MS = 1_000;
const MAX_BATCH = 1_000;

/** Reserves send times of rate-limited subscriptions in Postgres, for many deliveries in one statement. */
export class SendTimes {
  readonly #batcher: Batcher<string, number | undefined>;

  constructor(database: Database) {
    this.#batcher = new Batcher({
      maxItems: MAX_BATCH,
      write: (ids) => reserveBatch(database, ids),
    });
  }

  /**
   * A send time in milliseconds since 1970 by Postgres's clock; undefined if all within SEND_TIME_HORIZON_MS are reserved,
   * or if there is no limit now.
   */
  reserve(subscriptionId: string): Promise<number | undefined> {
    return this.#batcher.add(subscriptionId);
  }
}

async function reserveBatch(database: Database, ids: readonly string[]): Promise<(number | undefined)[]> {
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  const requests = [...counts].map(([subscriptionId, count]) => ({ subscriptionId, count }));
  const reserved = await reserveSendTimes(database.pool, { requests, horizonMs: SEND_TIME_HORIZON_MS });
  const now = database.clock.now();
  const used = new Map<string, number>();
  return ids.map((id) => {
    const times = reserved.get(id);
    const index = used.get(id) ?? 0;
    used.set(id, index + 1);
    return times === undefined || index >= times.count ? undefined : now + times.firstInMs + index * times.gapMs;
  });
}

type SendTimeRequest = { readonly subscriptionId: string; readonly count: number };

/** `count` send times, `gapMs` apart, the first one in `firstInMs`. */
type ReservedTimes = { readonly count: number; readonly firstInMs: number; readonly gapMs: number };

/**
 * Reserves send times of rate-limited subscriptions within the next `horizonMs`. Each is reserved once, so the limit
 * holds for all processes together. Returns them by subscription id; subscriptions without a rate limit are omitted.
 */
export async function reserveSendTimes(
  db: Queryable,
  { requests, horizonMs }: { readonly requests: readonly SendTimeRequest[]; readonly horizonMs: number },
): Promise<Map<string, ReservedTimes>> {
  const { rows } = await db.query<ReservedTimes & { subscriptionId: string }>(RESERVE, [
    requests.map(({ subscriptionId }) => subscriptionId),
    requests.map(({ count }) => count),
    horizonMs,
  ]);
  return new Map(rows.map(({ subscriptionId, ...times }) => [subscriptionId, times]));
}

const RESERVE = `
  WITH request AS (
    SELECT st.subscription_id, input.count, 1000.0::float8 / s.rate_limit_per_second AS gap_ms,
      greatest(0, coalesce(extract(epoch FROM st.next_send_at - clock_timestamp()) * 1000, 0))::float8 AS first_in_ms
    FROM unnest($1::uuid[], $2::integer[]) AS input (subscription_id, count)
    JOIN subscription_states st USING (subscription_id)
    JOIN webhook_subscriptions s ON s.id = st.subscription_id AND s.rate_limit_per_second IS NOT NULL
    ORDER BY st.subscription_id FOR UPDATE OF st
  ), reservation AS (
    SELECT subscription_id, gap_ms, first_in_ms,
      least(count, greatest(0, ceil(($3 - first_in_ms) / gap_ms)))::integer AS count
    FROM request
  )
  UPDATE subscription_states st
  SET next_send_at = clock_timestamp() + (r.first_in_ms + r.count * r.gap_ms) * interval '1 ms'
  FROM reservation r WHERE st.subscription_id = r.subscription_id AND r.count > 0
  RETURNING st.subscription_id AS "subscriptionId", r.count, r.first_in_ms AS "firstInMs", r.gap_ms AS "gapMs"`;
