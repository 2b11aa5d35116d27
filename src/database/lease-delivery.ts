import type { Queryable } from './transaction.ts';

export type Lease =
  /** The caller may make attempt number `attemptCount + 1`. */
  | { readonly kind: 'leased'; readonly attemptCount: number }
  /** Not before so many milliseconds: it is not due, or somebody else is making an attempt. */
  | { readonly kind: 'not yet'; readonly waitMs: number }
  /** It has ended, or does not exist. */
  | { readonly kind: 'over' };

/** How much earlier than its due time a delivery may be attempted: clocks differ between machines. */
const EARLY_MS = 1_000;

/** Takes the delivery for `leaseMs`, if it is due and nobody else has it. */
export async function leaseDelivery(
  db: Queryable,
  { deliveryId, leaseMs }: { deliveryId: string; leaseMs: number },
): Promise<Lease> {
  const { rows } = await db.query<{ attemptCount: number }>(
    `UPDATE deliveries SET leased_until = now() + $2 * interval '1 ms'
     WHERE id = $1 AND status = 'PENDING' AND (leased_until IS NULL OR leased_until <= now())
       AND next_attempt_at <= now() + $3 * interval '1 ms'
     RETURNING attempt_count AS "attemptCount"`,
    [deliveryId, leaseMs, EARLY_MS],
  );
  if (rows[0] !== undefined) return { kind: 'leased', attemptCount: rows[0].attemptCount };
  const { rows: states } = await db.query<{ waitMs: number }>(
    `SELECT greatest(1, extract(epoch FROM greatest(leased_until, next_attempt_at) - now()) * 1000)::float8 AS "waitMs"
     FROM deliveries WHERE id = $1 AND status = 'PENDING'`,
    [deliveryId],
  );
  return states[0] === undefined ? { kind: 'over' } : { kind: 'not yet', waitMs: states[0].waitMs };
}
