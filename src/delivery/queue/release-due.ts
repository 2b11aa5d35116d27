import { cancelPending } from './cancel-pending.ts';
import type { Clock } from '../../postgres/clock.ts';
import { closeCircuit } from './close-circuit.ts';
import { enqueueDeliveries } from './enqueue-deliveries.ts';
import { lockDueDeliveries } from './lock-due-deliveries.ts';
import { type DueQueue, lockDueQueues } from './lock-due-queues.ts';
import type { PendingDelivery } from './pending-delivery.ts';
import { saveQueues } from './save-queues.ts';
import type { Queryable } from '../../postgres/transaction.ts';
import type { DeliveryMessage } from './delivery-message.ts';
import { toMessage } from './publish-deliveries.ts';
import { groupBy } from '../../lib/collections.ts';
import { changeAfter, planRelease, type Release } from './release-plan.ts';

/** Subscriptions in one round, all of which are served before one comes up again. */
const MAX_QUEUES = 50;
/** Larger data is left to the sender to read: a round is held in memory. */
const MAX_DATA_BYTES = 32 * 1024;
const CANCEL_LIMIT = 1_000;

/** `isFull`: there may be more subscriptions that are due. */
export type Round = { readonly messages: readonly DeliveryMessage[]; readonly isFull: boolean };

/**
 * Looks after the subscriptions that are due, tenants in turn, and returns the messages to publish once that is committed:
 * some `room` of them, the same for each tenant.
 */
export async function releaseDue(
  db: Queryable,
  {
    room,
    maxInlineDataBytes,
    clock,
  }: { readonly room: number; readonly maxInlineDataBytes: number; readonly clock: Pick<Clock, 'now'> },
): Promise<Round> {
  const queues = await lockDueQueues(db, MAX_QUEUES);
  if (queues.length === 0) return { messages: [], isFull: false };
  const byTenant = groupBy(queues, ({ tenant }) => tenant);
  const plans = [...byTenant.values()].flatMap((ofTenant) => {
    const share = Math.ceil(room / byTenant.size / ofTenant.length);
    return ofTenant.map((queue) => ({ queue, release: planRelease(queue, share) }));
  });
  const releases = plans.map(({ release }) => release);
  const ids = await lockDueIds(db, releases);
  const allIds = [...ids.values()].flat();
  const maxDataBytes = Math.min(MAX_DATA_BYTES, maxInlineDataBytes);
  const pending = allIds.length === 0 ? [] : await enqueueDeliveries(db, { ids: allIds, maxDataBytes });
  const hasMore = await cancelInactive(db, queues);
  const changes = plans.map(({ queue, release }) => {
    const change = changeAfter(queue, { release, released: ids.get(queue.subscriptionId)?.length ?? 0 });
    return { ...change, mustRecheck: change.mustRecheck || hasMore.has(queue.subscriptionId) };
  });
  await saveQueues(db, changes);
  return { messages: toMessages(pending, { releases, ids, now: clock.now() }), isFull: queues.length === MAX_QUEUES };
}

/** Cancels what is left of subscriptions that were switched off while they had many deliveries; returns those that have more. */
async function cancelInactive(db: Queryable, queues: readonly DueQueue[]): Promise<Set<string>> {
  const hasMore = new Set<string>();
  for (const { subscriptionId, isActive, probe } of queues) {
    if (isActive) continue;
    // Should it be activated again, it starts over; till then there is nothing to probe.
    if (probe !== null) await closeCircuit(db, subscriptionId);
    if (await cancelPending(db, { subscriptionId, limit: CANCEL_LIMIT })) hasMore.add(subscriptionId);
  }
  return hasMore;
}

async function lockDueIds(db: Queryable, releases: readonly Release[]): Promise<Map<string, string[]>> {
  const ids = new Map<string, string[]>(releases.map(({ subscriptionId }) => [subscriptionId, []]));
  for (const { id, subscriptionId } of await lockDueDeliveries(db, releases)) ids.get(subscriptionId)?.push(id);
  return ids;
}

type Released = {
  readonly releases: readonly Release[];
  readonly ids: ReadonlyMap<string, readonly string[]>;
  readonly now: number;
};

function toMessages(pending: readonly PendingDelivery[], { releases, ids, now }: Released): DeliveryMessage[] {
  const byId = new Map(pending.map((delivery) => [delivery.deliveryId, delivery]));
  return releases.flatMap(({ subscriptionId, isProbe, pace }) =>
    (ids.get(subscriptionId) ?? []).flatMap((id, index) => {
      const delivery = byId.get(id);
      const sendAt = pace === undefined ? undefined : Math.ceil(now + pace.firstInMs + index * pace.gapMs);
      return delivery === undefined
        ? []
        : [toMessage(delivery, { isProbe, sendAt, isFirst: delivery.enqueueCount === 1 })];
    }),
  );
}
