import type { Queryable } from './transaction.ts';

/** The ids of a tenant's active subscriptions that have one of these entries among their event types. */
export async function matchingSubscriptions(
  db: Queryable,
  { tenant, patterns }: { readonly tenant: string; readonly patterns: readonly string[] },
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `SELECT id FROM webhook_subscriptions
     WHERE tenant = $1 AND event_types && $2::text[] AND is_active AND deleted_at IS NULL`,
    [tenant, patterns],
  );
  return rows.map(({ id }) => id);
}
