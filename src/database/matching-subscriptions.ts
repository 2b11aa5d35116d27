import type { Queryable } from './transaction.ts';

export type TypeMatch = {
  readonly id: string;
  /** Null if every event of these types is wanted. */
  readonly filter: unknown;
};

/** A tenant's active subscriptions that have one of these entries among their event types. */
export async function matchingSubscriptions(
  db: Queryable,
  { tenant, patterns }: { readonly tenant: string; readonly patterns: readonly string[] },
): Promise<readonly TypeMatch[]> {
  const { rows } = await db.query<TypeMatch>(
    `SELECT id, filter FROM webhook_subscriptions
     WHERE tenant = $1 AND event_types && $2::text[] AND is_active AND deleted_at IS NULL`,
    [tenant, patterns],
  );
  return rows;
}
