import { cancelDeliveries } from './cancel-delivery.ts';
import type { Database } from '../../postgres/client.ts';
import { lockDelivery } from './lock-delivery.ts';
import { tellCancelled } from './tell-cancelled.ts';
import { transaction } from '../../postgres/transaction.ts';
import { DeliveryNotPendingError } from './delivery-errors.ts';
import type { DeliveryKey } from './retry-delivery.ts';
import { NotFoundError } from '../../lib/webhook-subscription-errors.ts';
import { isUuid } from '../../subscriptions/service.ts';

/**
 * Ends a pending delivery without another attempt; one that is cancelled already stays so. Throws NotFoundError or
 * DeliveryNotPendingError.
 */
export async function cancelByUser({ pool }: Pick<Database, 'pool'>, key: DeliveryKey): Promise<void> {
  if (!isUuid(key.id)) throw new NotFoundError('delivery');
  await transaction(pool, async (db) => {
    const delivery = await lockDelivery(db, key);
    if (delivery === undefined) throw new NotFoundError('delivery');
    const { status } = delivery;
    if (status === 'CANCELLED') return;
    if (status !== 'PENDING') throw new DeliveryNotPendingError(status);
    await cancelDeliveries(db, [key.id]);
    // Its first message may be with a sender, who sends that without asking Postgres.
    await tellCancelled(db, key.id);
  });
}
