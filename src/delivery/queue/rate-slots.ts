import { Batcher } from '../../postgres/batcher.ts';
import type { Database, Queryable } from '../../postgres/client.ts';

/** How far ahead moments are given out. What would have to wait longer waits in Postgres. */
export const SLOT_HORIZON_MS = 1_000;
const MAX_BATCH = 1_000;

/** Asks Postgres, for many deliveries at a time, when rate limits let them be sent. */
export class SendTimes {
  readonly #batcher: Batcher<string, number | undefined>;

  constructor(database: Database) {
    this.#batcher = new Batcher({
      maxItems: MAX_BATCH,
      write: (ids) => reserveBatch(database, ids),
    });
  }

  /** When to send, in milliseconds since 1970 by Postgres's clock; undefined if all moments of the next second are taken. */
  reserve(subscriptionId: string): Promise<number | undefined> {
    return this.#batcher.add(subscriptionId);
  }
}

async function reserveBatch(database: Database, ids: readonly string[]): Promise<(number | undefined)[]> {
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  const requests = [...counts].map(([subscriptionId, count]) => ({ subscriptionId, count }));
  const slots = await reserveSendTimes(database.pool, { requests, horizonMs: SLOT_HORIZON_MS });
  const now = database.clock.now();
  const used = new Map<string, number>();
  return ids.map((id) => {
    const slot = slots.get(id);
    const index = used.get(id) ?? 0;
    used.set(id, index + 1);
    return slot === undefined || index >= slot.count ? undefined : now + slot.firstInMs + index * slot.gapMs;
  });
}

type SlotRequest = { readonly subscriptionId: string; readonly count: number };

/** `count` moments from `firstInMs` milliseconds from now on, `gapMs` apart. */
type Slots = { readonly count: number; readonly firstInMs: number; readonly gapMs: number };

/**
 * Gives out moments to send at to subscriptions with a rate limit, at most those of the next `horizonMs`. Each is given
 * once, to whatever process asks: the limit holds for all of them together. Returns them by subscription id; there are
 * none for a subscription without a limit.
 */
export async function reserveSendTimes(
  db: Queryable,
  { requests, horizonMs }: { readonly requests: readonly SlotRequest[]; readonly horizonMs: number },
): Promise<Map<string, Slots>> {
  const { rows } = await db.query<Slots & { subscriptionId: string }>(STATEMENT, [
    requests.map(({ subscriptionId }) => subscriptionId),
    requests.map(({ count }) => count),
    horizonMs,
  ]);
  return new Map(rows.map(({ subscriptionId, ...slots }) => [subscriptionId, slots]));
}

const STATEMENT = `
  WITH asked AS (
    SELECT st.subscription_id, r.count, 1000.0::float8 / s.rate_limit_per_second AS gap_ms,
      greatest(0, coalesce(extract(epoch FROM st.next_slot_at - clock_timestamp()) * 1000, 0))::float8 AS first_in_ms
    FROM unnest($1::uuid[], $2::integer[]) AS r (subscription_id, count)
    JOIN subscription_states st USING (subscription_id)
    JOIN webhook_subscriptions s ON s.id = st.subscription_id AND s.rate_limit_per_second IS NOT NULL
    ORDER BY st.subscription_id FOR UPDATE OF st
  ), given AS (
    SELECT subscription_id, gap_ms, first_in_ms,
      least(count, greatest(0, ceil(($3 - first_in_ms) / gap_ms)))::integer AS count
    FROM asked
  )
  UPDATE subscription_states st
  SET next_slot_at = clock_timestamp() + (g.first_in_ms + g.count * g.gap_ms) * interval '1 ms'
  FROM given g WHERE st.subscription_id = g.subscription_id AND g.count > 0
  RETURNING st.subscription_id AS "subscriptionId", g.count, g.first_in_ms AS "firstInMs", g.gap_ms AS "gapMs"`;
