import type { Queryable } from '../postgres/transaction.ts';

/**
 * Writes that these keys have been used just now, unless that was noted within the last minute. Rows that another
 * process has in hand are left to it: two that wait for each other's would be a deadlock.
 */
export async function noteApiKeyUse(db: Queryable, ids: readonly string[]): Promise<void> {
  await db.query(
    `UPDATE api_keys SET last_used_at = now() FROM (
       SELECT id FROM api_keys
       WHERE id = ANY($1::uuid[]) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
       FOR NO KEY UPDATE SKIP LOCKED
     ) AS used WHERE api_keys.id = used.id`,
    [ids],
  );
}
