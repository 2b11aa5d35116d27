import type { Queryable } from '../postgres/transaction.ts';
import { uuid7Time } from '../lib/uuid7.ts';

/** An event's id has its time from another clock than the settings. */
const SKEW_MS = 3_600_000;

/**
 * Deletes up to `limit` settings that were superseded before the retention, and returns how many there were. An event
 * that is kept for longer, because one of its deliveries is pending, keeps those of its time and later.
 */
export async function deleteOldSettings(
  db: Queryable,
  { beforeId, limit }: { readonly beforeId: string; readonly limit: number },
): Promise<number> {
  const { rows: events } = await db.query<{ id: string }>('SELECT id FROM events ORDER BY id LIMIT 1');
  const oldest = events[0] === undefined ? Number.POSITIVE_INFINITY : uuid7Time(events[0].id) - SKEW_MS;
  const before = new Date(Math.min(oldest, uuid7Time(beforeId)));
  const { rows } = await db.query(
    `DELETE FROM matching_settings WHERE (subscription_id, from_version) IN (
       SELECT subscription_id, from_version FROM matching_settings
       WHERE superseded_at < $1 ORDER BY superseded_at LIMIT $2
     ) RETURNING 1`,
    [before, limit],
  );
  return rows.length;
}
