import type { Queryable } from '../postgres/transaction.ts';

/** The ids of the next `limit` webhook subscriptions, deleted ones too, in the order of their ids. */
export async function subscriptionsAfter(
  db: Queryable,
  { afterId, limit }: { readonly afterId: string; readonly limit: number },
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    'SELECT id FROM webhook_subscriptions WHERE id > $1 ORDER BY id LIMIT $2',
    [afterId, limit],
  );
  return rows.map(({ id }) => id);
}
