import { idRange } from '../../lib/id-range.ts';
import type { Queryable } from '../../postgres/transaction.ts';

export type LeaseRequest = {
  readonly deliveryId: string;
  /** The one of the message at hand: an older message of the delivery gets no lease. */
  readonly enqueueCount: number;
  readonly leaseMs: number;
};

export type Lease =
  /** The caller may make attempt number `attemptCount + 1`. */
  | { readonly kind: 'leased'; readonly attemptCount: number }
  /** Not before so many milliseconds: it is not due, or somebody else is making an attempt. */
  | { readonly kind: 'not yet'; readonly waitMs: number }
  /** It has ended, does not exist, or has a newer message. */
  | { readonly kind: 'over' };

/** How much longer than an attempt its lease lasts: time to record it. After a crash, others wait for so long. */
export const LEASE_MARGIN_MS = 10_000;
/** How much earlier than its due time a delivery may be attempted: clocks differ between machines. */
const EARLY_MS = 1_000;

/** Takes each delivery for `leaseMs`, if it is due and nobody else has it. Returns what is not over, by delivery id. */
export async function leaseDeliveries(db: Queryable, requests: readonly LeaseRequest[]): Promise<Map<string, Lease>> {
  const { rows } = await db.query<{ id: string; attemptCount: number | null; waitMs: number | null }>(STATEMENT, [
    requests.map(({ deliveryId }) => deliveryId),
    requests.map(({ enqueueCount }) => enqueueCount),
    requests.map(({ leaseMs }) => leaseMs),
    EARLY_MS,
    ...idRange(requests.map(({ deliveryId }) => deliveryId)),
  ]);
  return new Map(
    rows.map(({ id, attemptCount, waitMs }) => [
      id,
      attemptCount === null ? { kind: 'not yet', waitMs: waitMs ?? 1 } : { kind: 'leased', attemptCount },
    ]),
  );
}

// What another process leased while this statement waited for it shows as free: then it is asked for again at once.
const STATEMENT = `
  WITH request AS (
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::integer[]) AS r (id, enqueue_count, lease_ms)
  ), leased AS (
    UPDATE deliveries d SET leased_until = now() + r.lease_ms * interval '1 ms'
    FROM request r
    WHERE d.id = r.id AND d.id BETWEEN $5::uuid AND $6::uuid AND d.enqueue_count = r.enqueue_count
      AND d.status = 'PENDING' AND (d.leased_until IS NULL OR d.leased_until <= now())
      AND d.next_attempt_at <= now() + $4 * interval '1 ms'
    RETURNING d.id, d.attempt_count
  )
  SELECT d.id, leased.attempt_count AS "attemptCount",
    greatest(1, extract(epoch FROM greatest(d.leased_until, d.next_attempt_at) - now()) * 1000)::float8 AS "waitMs"
  FROM request r
  JOIN deliveries d ON d.id = r.id AND d.id BETWEEN $5::uuid AND $6::uuid
  LEFT JOIN leased ON leased.id = d.id
  WHERE d.status = 'PENDING' AND d.enqueue_count = r.enqueue_count`;

/**
 * Keeps deliveries whose attempts were made and could not be recorded yet for `leaseMs` from now: nobody else attempts
 * them meanwhile. Rows that are locked are left out: nobody else gets those either.
 */
export async function extendLeases(
  db: Queryable,
  {
    attempts,
    leaseMs,
  }: {
    readonly attempts: readonly { readonly deliveryId: string; readonly number: number }[];
    readonly leaseMs: number;
  },
): Promise<void> {
  const ids = attempts.map(({ deliveryId }) => deliveryId);
  await db.query(EXTEND, [ids, attempts.map(({ number }) => number), leaseMs, ...idRange(ids)]);
}

const EXTEND = `
  WITH held AS (
    SELECT d.id FROM unnest($1::uuid[], $2::integer[]) AS a (id, number)
    JOIN deliveries d ON d.id = a.id AND d.id BETWEEN $4::uuid AND $5::uuid
    WHERE d.status = 'PENDING' AND d.attempt_count < a.number
    FOR NO KEY UPDATE OF d SKIP LOCKED
  )
  UPDATE deliveries SET leased_until = greatest(leased_until, now() + $3::integer * interval '1 ms')
  WHERE id = ANY (ARRAY(SELECT id FROM held)) AND id BETWEEN $4::uuid AND $5::uuid`;
