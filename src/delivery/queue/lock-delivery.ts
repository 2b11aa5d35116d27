import type { DeliveryStatus } from '../../generated/prisma/enums.ts';
import type { Queryable } from '../../postgres/transaction.ts';

export type LockedDelivery = {
  readonly status: DeliveryStatus;
  /** Of its subscription; false once that is inactive or deleted. */
  readonly isActive: boolean;
  /** An attempt is being made, or a message that will lead to one in a moment is with JetStream or a sender. */
  readonly isUnderWay: boolean;
};

/** Holds a delivery, of this tenant if one is given, until the transaction ends; undefined if there is none. */
export async function lockDelivery(
  db: Queryable,
  { id, tenant }: { readonly id: string; readonly tenant: string | undefined },
): Promise<LockedDelivery | undefined> {
  const { rows } = await db.query<LockedDelivery>(STATEMENT, [id, tenant ?? null]);
  return rows[0];
}

// Not now(): who waited here for somebody else's change began before it, and would take its times for the future. The
// second is for clocks that differ: so much before its time, a delivery may already be leased (see lease-deliveries).
const STATEMENT = `
  SELECT d.status, s.is_active AND s.deleted_at IS NULL AS "isActive",
    coalesce(d.enqueued_at IS NOT NULL AND d.next_attempt_at <= clock_timestamp() + interval '1 s', false)
      OR coalesce(d.leased_until > clock_timestamp(), false) AS "isUnderWay"
  FROM deliveries d JOIN webhook_subscriptions s ON s.id = d.subscription_id
  WHERE d.id = $1 AND ($2::text IS NULL OR d.tenant = $2)
  FOR NO KEY UPDATE OF d`;
