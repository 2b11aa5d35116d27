import type { Queryable } from '../postgres/transaction.ts';

/** Of these ids, those of keys that are not revoked. */
export async function liveApiKeys(db: Queryable, ids: readonly string[]): Promise<Set<string>> {
  const { rows } = await db.query<{ id: string }>(
    'SELECT id FROM api_keys WHERE id = ANY($1::uuid[]) AND revoked_at IS NULL',
    [ids],
  );
  return new Set(rows.map(({ id }) => id));
}
