import type { WaitReason } from '../../generated/prisma/enums.ts';
import { idRange } from '../../lib/id-range.ts';
import type { Queryable } from '../../postgres/transaction.ts';
import { wakeQueues } from './wake-queues.ts';

export type Parking = {
  readonly deliveryId: string;
  /** The one of the message that is given up for this: if there is a newer one, nothing changes. */
  readonly enqueueCount: number;
  readonly reason: WaitReason;
};

/**
 * Deliveries whose subscription has no room for them wait in Postgres for their turn, and new ones queue up behind
 * them. That there was no room shows that the sweeper released too much at a time, so it releases half as much.
 */
export async function parkDeliveries(db: Queryable, parkings: readonly Parking[]): Promise<void> {
  await db.query(STATEMENT, [
    parkings.map(({ deliveryId }) => deliveryId),
    parkings.map(({ enqueueCount }) => enqueueCount),
    parkings.map(({ reason }) => reason),
    ...idRange(parkings.map(({ deliveryId }) => deliveryId)),
  ]);
}

/**
 * Half of no window yet is one as well: who has just been given more than it could take begins anew, slowly. Else an
 * endpoint that hangs would get as much at its first window, and again at the next, and fill the senders with it.
 */
const HALF_WINDOW = 'release_window = greatest(1, st.release_window / 2)';

const STATEMENT = `
  WITH parked AS (
    UPDATE deliveries d SET enqueued_at = NULL, waiting_for = p.reason
    FROM unnest($1::uuid[], $2::integer[], $3::wait_reason[]) AS p (id, enqueue_count, reason)
    WHERE d.id = p.id AND d.id BETWEEN $4::uuid AND $5::uuid AND d.enqueue_count = p.enqueue_count
      AND d.status = 'PENDING'
    RETURNING d.subscription_id, d.next_attempt_at
  )${wakeQueues('parked', ['is_backlogged = true', HALF_WINDOW])}`;
