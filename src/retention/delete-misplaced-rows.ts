import type { Queryable } from '../postgres/transaction.ts';

/**
 * Deletes up to `limit` rows of each default partition that are older than the retention, and returns the largest of
 * the three counts. Of deliveries those that have ended, of events those without a delivery.
 */
export async function deleteMisplacedRows(
  db: Queryable,
  { beforeId, limit }: { readonly beforeId: string; readonly limit: number },
): Promise<number> {
  let most = 0;
  for (const statement of STATEMENTS) {
    const { rows } = await db.query(statement, [beforeId, limit]);
    most = Math.max(most, rows.length);
  }
  return most;
}

const STATEMENTS = [
  deletion('attempts_default', 'true'),
  deletion('deliveries_default', `status <> 'PENDING'`),
  deletion('events_default', 'NOT EXISTS (SELECT FROM deliveries d WHERE d.event_id = r.id)'),
];

function deletion(table: string, condition: string): string {
  return `DELETE FROM ${table} WHERE id IN (
    SELECT id FROM ${table} r WHERE id < $1 AND ${condition} LIMIT $2 FOR UPDATE SKIP LOCKED
  ) RETURNING id`;
}
