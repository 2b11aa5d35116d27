import { readDataOfDeliveries } from '../../events/store.ts';
import { Batcher } from '../../postgres/batcher.ts';
import type { Database } from '../../postgres/client.ts';
import { markCancelled } from '../queue/cancel.ts';
import { SendTimes } from '../queue/send-times.ts';
import {
  delayPublished,
  type Lease,
  type LeaseRequest,
  type LimitedDelivery,
  leaseDeliveries,
  requeueAtLimit,
  requeueDeliveries,
  requeueLater,
} from '../queue/store.ts';
import { type DeliveryStatements, INFRA_RETRY_MS } from './handle-delivery.ts';

const MAX_BATCH = 500;
/** Maximum deliveries in one read of event data, each up to 1 MiB. */
const MAX_DATA_BATCH = 16;
/** Retry delay after an error that concerns only this delivery, such as a secret that cannot be decrypted. */
const UNUSABLE_RETRY_MS = 600_000;

/**
 * Statements about single deliveries, batched: at most one statement of each kind runs at a time, so that they do not take
 * all connections of the pool from the statements that write results.
 */
export function createDeliveryStatements(database: Database): DeliveryStatements {
  const { pool } = database;
  const leases = new Batcher<LeaseRequest, Lease>({
    maxItems: MAX_BATCH,
    write: async (requests) => {
      const granted = await leaseDeliveries(pool, requests);
      return requests.map(({ deliveryId }): Lease => granted.get(deliveryId) ?? { kind: 'over' });
    },
  });
  const limited = createWriteBatcher<LimitedDelivery>((deliveries) => requeueAtLimit(pool, deliveries));
  const delayed = new Batcher<LimitedDelivery, boolean>({
    maxItems: MAX_BATCH,
    write: async (deliveries) => {
      const current = await delayPublished(pool, { deliveries, waitMs: INFRA_RETRY_MS });
      return deliveries.map(({ deliveryId }) => current.has(deliveryId));
    },
  });
  const cancelled = createWriteBatcher<string>((deliveryIds) => markCancelled(pool, deliveryIds));
  const requeued = createWriteBatcher<string>((deliveryIds) => requeueDeliveries(pool, deliveryIds));
  const requeuedLater = createWriteBatcher<string>((deliveryIds) =>
    requeueLater(pool, { deliveryIds, waitMs: UNUSABLE_RETRY_MS }),
  );
  const data = new Batcher<string, Buffer | undefined>({
    maxItems: MAX_DATA_BATCH,
    write: async (deliveryIds) => {
      const read = await readDataOfDeliveries(pool, deliveryIds);
      return deliveryIds.map((id) => read.get(id));
    },
  });
  const sendTimes = new SendTimes(database);
  return {
    lease: (request) => leases.add(request),
    requeueAtLimit: (delivery) => limited.add(delivery),
    delay: (delivery) => delayed.add(delivery),
    requeue: (deliveryId) => requeued.add(deliveryId),
    requeueLater: (deliveryId) => requeuedLater.add(deliveryId),
    cancel: (deliveryId) => cancelled.add(deliveryId),
    loadData: (deliveryId) => data.add(deliveryId),
    reserveSendTime: (subscriptionId) => sendTimes.reserve(subscriptionId),
  };
}

function createWriteBatcher<T>(write: (items: readonly T[]) => Promise<void>): Batcher<T, void> {
  return new Batcher<T, void>({
    maxItems: MAX_BATCH,
    write: async (items) => {
      await write(items);
      return [];
    },
  });
}
