import type { Queryable } from '../postgres/transaction.ts';

export type TypeMatch = {
  readonly id: string;
  /** Null if every event of these types is wanted. */
  readonly filter: unknown;
};

/** A tenant's active subscriptions that have one of these entries among their event types, and whose circuit is closed. */
export async function matchingSubscriptions(
  db: Queryable,
  { tenant, patterns }: { readonly tenant: string; readonly patterns: readonly string[] },
): Promise<readonly TypeMatch[]> {
  const { rows } = await db.query<TypeMatch>(
    `SELECT s.id, s.filter FROM webhook_subscriptions s JOIN subscription_states st ON st.subscription_id = s.id
     WHERE s.tenant = $1 AND s.event_types && $2::text[] AND s.is_active AND s.deleted_at IS NULL
       AND st.opened_at IS NULL`,
    [tenant, patterns],
  );
  return rows;
}
