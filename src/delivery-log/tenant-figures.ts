import { batched } from '../lib/batched.ts';
import type { Database, Queryable } from '../postgres/client.ts';

/** Figures of a tenant: its webhook subscriptions without deleted ones, its pending deliveries, and its last event. */
export type TenantFigures = {
  readonly subscriptionCount: number;
  /** Subscriptions with a failure since their last success. */
  readonly failingCount: number;
  readonly openCircuitCount: number;
  /** Pending deliveries, counted up to MAX_PENDING. */
  readonly pendingCount: number;
  readonly isExact: boolean;
  readonly lastEventAt: Date | null;
};

/** Reads the figures of a tenant. Tenants requested in one turn of the event loop are read with one statement. */
export type ReadTenantFigures = (tenant: string) => Promise<TenantFigures>;

/** Maximum pending deliveries that are counted per tenant. */
export const MAX_PENDING = 1_000;

export function createTenantFigures({ readPool }: Pick<Database, 'readPool'>): ReadTenantFigures {
  const load = batched((tenants) => readFigures(readPool, tenants));
  return (tenant) => load(tenant, null);
}

async function readFigures(db: Queryable, tenants: readonly string[]): Promise<ReadonlyMap<string, TenantFigures>> {
  const { rows } = await db.query<TenantFigures & { readonly tenant: string }>(FIGURES, [tenants, MAX_PENDING]);
  return new Map(rows.map(({ tenant, ...figures }) => [tenant, figures]));
}

// The partial indexes of pending deliveries begin with the subscription, so they are counted by subscription.
const FIGURES = `
  SELECT t.name AS tenant, own."subscriptionCount", own."failingCount", own."openCircuitCount",
    least(pending.counted, $2)::integer AS "pendingCount", pending.counted <= $2 AS "isExact",
    latest.created_at AS "lastEventAt"
  FROM unnest($1::text[]) AS t (name)
  CROSS JOIN LATERAL (
    SELECT count(*)::integer AS "subscriptionCount",
      count(*) FILTER (WHERE st.failing_since IS NOT NULL)::integer AS "failingCount",
      count(*) FILTER (WHERE st.opened_at IS NOT NULL)::integer AS "openCircuitCount"
    FROM webhook_subscriptions s JOIN subscription_states st ON st.subscription_id = s.id
    WHERE s.tenant = t.name AND s.deleted_at IS NULL
  ) AS own
  CROSS JOIN LATERAL (
    SELECT count(*)::integer AS counted FROM (
      SELECT FROM webhook_subscriptions s CROSS JOIN LATERAL (
        (SELECT FROM deliveries WHERE subscription_id = s.id AND status = 'PENDING' AND enqueued_at IS NULL LIMIT $2 + 1)
        UNION ALL
        (SELECT FROM deliveries WHERE subscription_id = s.id AND status = 'PENDING' AND enqueued_at IS NOT NULL LIMIT $2 + 1)
      ) AS first
      WHERE s.tenant = t.name AND s.deleted_at IS NULL LIMIT $2 + 1
    ) AS all_pending
  ) AS pending
  LEFT JOIN LATERAL (
    SELECT created_at FROM events WHERE tenant = t.name ORDER BY id DESC LIMIT 1
  ) AS latest ON true`;
