import type { Queryable } from '../../postgres/transaction.ts';

export type ChangedSubscription = {
  readonly id: string;
  readonly tenant: string;
  readonly version: number;
  readonly eventTypes: readonly string[];
  /** False once it is inactive or deleted. */
  readonly isActive: boolean;
  /** Null if every event of these types is wanted. */
  readonly filter: unknown;
};

/** The subscriptions of each tenant that changed after the version that is known of it (0: none), oldest change first. */
export async function changedSubscriptions(
  db: Queryable,
  known: ReadonlyMap<string, number>,
): Promise<ChangedSubscription[]> {
  const { rows } = await db.query<Omit<ChangedSubscription, 'version'> & { version: string }>(
    `SELECT s.id, s.tenant, s.version, s.event_types AS "eventTypes", s.is_active AND s.deleted_at IS NULL AS "isActive",
       s.filter
     FROM unnest($1::text[], $2::bigint[]) AS known (tenant, version)
     JOIN webhook_subscriptions s ON s.tenant = known.tenant AND s.version > known.version
     ORDER BY s.version`,
    [[...known.keys()], [...known.values()]],
  );
  return rows.map((row) => ({ ...row, version: Number(row.version) }));
}
