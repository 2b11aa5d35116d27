import { leastChildId } from '../lib/clock-drift.ts';
import type { Queryable } from '../postgres/transaction.ts';

export type Answers = {
  readonly deliveryIds: readonly string[];
  /** Both ends included. */
  readonly statusCodes: readonly { readonly from: number; readonly to: number }[];
};

/**
 * Those of these deliveries of which an attempt has one of these status codes. Each is looked up by itself, from the
 * oldest partition that can have its attempts: the first is as a rule the one.
 */
export async function answeredDeliveries(db: Queryable, { deliveryIds, statusCodes }: Answers): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(STATEMENT, [
    deliveryIds,
    deliveryIds.map(leastChildId),
    statusCodes.map(({ from }) => from),
    statusCodes.map(({ to }) => to),
  ]);
  return rows.map(({ id }) => id);
}

const STATEMENT = `
  SELECT d.id FROM unnest($1::uuid[], $2::uuid[]) AS d (id, earliest)
  CROSS JOIN LATERAL (
    SELECT FROM attempts a
    WHERE a.delivery_id = d.id AND a.id >= d.earliest AND EXISTS (
      SELECT FROM unnest($3::integer[], $4::integer[]) AS r (least, greatest)
      WHERE a.status_code BETWEEN r.least AND r.greatest
    )
    LIMIT 1
  ) AS answer`;
