import type { Queryable } from '../../postgres/transaction.ts';

/** Tells every sender process, once the transaction is committed, that a delivery was cancelled (see change-listener). */
export async function tellCancelled(db: Queryable, deliveryId: string): Promise<void> {
  await db.query(`SELECT pg_notify('delivery_cancelled', $1)`, [deliveryId]);
}
