import { LRUCache } from 'lru-cache';
import { atMost } from '../../lib/collections.ts';
import { NotFoundError } from '../../lib/errors.ts';
import { idRange, isUuid } from '../../lib/uuid7.ts';
import { recordChanges } from '../../postgres/changes.ts';
import { type Database, mutate, type Queryable } from '../../postgres/client.ts';
import { TRUST_FIRST_FOR_MS } from './message.ts';
import { type DeliveryKey, DeliveryNotPendingError } from './retry.ts';
import { lockDelivery } from './store.ts';

/**
 * Cancels a pending delivery: it is not attempted again. Cancelling it twice is no error. Throws NotFoundError or
 * DeliveryNotPendingError.
 */
export async function cancelDelivery(database: Pick<Database, 'pool' | 'recorder'>, key: DeliveryKey): Promise<void> {
  if (!isUuid(key.id)) throw new NotFoundError('delivery');
  await mutate(database, async (db) => {
    const delivery = await lockDelivery(db, key);
    if (delivery === undefined) throw new NotFoundError('delivery');
    const { status } = delivery;
    if (status === 'CANCELLED') return;
    if (status !== 'PENDING') throw new DeliveryNotPendingError(status);
    await markCancelled(db, [key.id]);
    // A sender makes a first attempt without reading Postgres.
    await notifyCancelled(db, [key.id]);
  });
}

/** Maximum pending deliveries that a deactivation itself cancels; the sweeper cancels the rest of a longer backlog. */
export const CANCEL_LIMIT_ON_DEACTIVATION = 5_000;

/** Milliseconds. Longer than senders make first attempts without reading Postgres (TRUST_FIRST_FOR_MS in message.ts). */
const MAX_AGE_MS = 60_000;
const MAX_REMEMBERED = 10_000;

/**
 * The deliveries that users have just cancelled: senders need a lease even for their first attempt. If there are too many to
 * remember, all deliveries count as cancelled until no sender makes such an attempt of a forgotten one.
 */
export class Cancellations {
  /** In milliseconds, on the clock of performance.now(). */
  #incompleteUntil = Number.NEGATIVE_INFINITY;
  /** The times of the cancellations, on the same clock. Expired ones stay until newer ones evict them. */
  readonly #ids = new LRUCache<string, number>({
    ...atMost(MAX_REMEMBERED),
    ttl: MAX_AGE_MS,
    dispose: (addedAt, _id, reason) => {
      if (reason === 'evict') this.#incompleteUntil = Math.max(this.#incompleteUntil, addedAt + TRUST_FIRST_FOR_MS);
    },
  });

  add(deliveryId: string): void {
    this.#ids.set(deliveryId, performance.now());
  }

  has(deliveryId: string): boolean {
    return this.#ids.has(deliveryId) || performance.now() < this.#incompleteUntil;
  }
}

/** The assignments of an UPDATE that cancels deliveries. */
const CANCELLED = `status = 'CANCELLED', completed_at = now(), next_attempt_at = NULL, waiting_for = NULL,
  enqueued_at = NULL, leased_until = NULL`;

/** Marks pending deliveries as cancelled. */
export async function markCancelled(db: Queryable, deliveryIds: readonly string[]): Promise<void> {
  await db.query(
    `WITH cancelled AS (
       UPDATE deliveries SET ${CANCELLED}
       WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid AND status = 'PENDING'
       RETURNING id
     ), ${recordChanges({ deliveries: 'cancelled' })}
     SELECT FROM cancelled`,
    [deliveryIds, ...idRange(deliveryIds)],
  );
}

/**
 * Cancels up to `limit` pending deliveries of a subscription and returns whether it has more. Skips locked rows, because
 * the sweeper calls it with the subscription's state locked (see the lock order in store.ts).
 */
export async function cancelPending(
  db: Queryable,
  { subscriptionId, limit }: { readonly subscriptionId: string; readonly limit: number },
): Promise<boolean> {
  const { rows } = await db.query<{ hasMore: boolean }>(CANCEL_PENDING, [subscriptionId, limit]);
  return rows[0]?.hasMore === true;
}

const PENDING = `SELECT id FROM deliveries WHERE subscription_id = $1::uuid AND status = 'PENDING'`;
// Each of the two conditions has its own partial index.
const ENQUEUED = `${PENDING} AND enqueued_at IS NOT NULL`;
const WAITING = `${PENDING} AND enqueued_at IS NULL`;

const CANCEL_PENDING = `
  WITH enqueued AS (
    ${ENQUEUED} LIMIT $2::integer FOR UPDATE SKIP LOCKED
  ), waiting AS (
    ${WAITING} LIMIT $2::integer FOR UPDATE SKIP LOCKED
  ), cancelled AS (
    UPDATE deliveries d SET ${CANCELLED}
    WHERE d.id = ANY (ARRAY(SELECT id FROM enqueued UNION ALL SELECT id FROM waiting LIMIT $2::integer))
    RETURNING d.id
  ), ${recordChanges({ deliveries: 'cancelled' })}
  SELECT EXISTS (${ENQUEUED} AND id NOT IN (SELECT id FROM cancelled))
    OR EXISTS (${WAITING} AND id NOT IN (SELECT id FROM cancelled)) AS "hasMore"`;

/** Notifies every sender process of the cancellations after the commit (postgres/listener.ts). */
export async function notifyCancelled(db: Queryable, deliveryIds: readonly string[]): Promise<void> {
  await db.query(`SELECT count(pg_notify('delivery_cancelled', id)) FROM unnest($1::text[]) AS cancelled (id)`, [
    deliveryIds,
  ]);
}
