import { closeCircuit } from '../queue/close-circuit.ts';
import { countNotice } from './count-notice.ts';
import { lockHealth } from './lock-health.ts';
import { openCircuit } from './open-circuit.ts';
import { recentAttempts } from './recent-attempts.ts';
import type { Queryable } from '../../postgres/transaction.ts';
import { uuid7Floor } from '../../lib/uuid7.ts';
import type { DeliveryMessage } from '../queue/delivery-message.ts';
import {
  DEACTIVATE_AFTER_MS,
  FIRST_PROBE_MS,
  judge,
  LAST_NOTICE_MS,
  MAX_IN_A_ROW,
  MAX_RECENT,
  RECENT_MS,
  type Verdict,
} from './circuit.ts';
import { recordSubscriptionEvent } from './subscription-events.ts';

export type Judgement = {
  readonly verdict: Verdict;
  /** To be published once the transaction is committed. */
  readonly messages: readonly DeliveryMessage[];
};

/** Judges a subscription after one of its attempts failed, and does what the verdict says, but for deactivating it. */
export async function judgeSubscription(db: Queryable, subscriptionId: string): Promise<Judgement> {
  const health = await lockHealth(db, subscriptionId);
  if (health === undefined) return { verdict: { kind: 'nothing' }, messages: [] };
  const closedAt = health.closedAt?.getTime() ?? 0;
  const attempts = await recentAttempts(db, {
    ...{ subscriptionId, since: new Date(closedAt), sinceId: uuid7Floor(closedAt), maxInARow: MAX_IN_A_ROW },
    recentSinceId: uuid7Floor(Math.max(closedAt, health.nowMs - RECENT_MS)),
    maxRecent: MAX_RECENT,
  });
  const verdict = judge({ ...health, ...attempts });
  if (verdict.kind === 'nothing' || verdict.kind === 'deactivate') return { verdict, messages: [] };
  const { noticeCount, progressPercent } = verdict;
  // Among the attempts that failed may have been some that did not: then it counts from now.
  const failingSince = health.failingSince ?? new Date(health.nowMs);
  if (verdict.kind === 'open') await openCircuit(db, { subscriptionId, probeInMs: FIRST_PROBE_MS, failingSince });
  await countNotice(db, { subscriptionId, noticeCount });
  const messages = await recordSubscriptionEvent(db, {
    ...{ tenant: health.tenant, subscriptionId, url: health.url, type: 'webhook_subscription.failing' },
    data: {
      failingSince,
      progressPercent,
      deactivationAt: new Date(Math.max(failingSince.getTime() + DEACTIVATE_AFTER_MS, health.nowMs + LAST_NOTICE_MS)),
    },
  });
  return { verdict, messages };
}

/** Closes an open circuit and tells the tenant; undefined if it is not open. */
export async function recoverSubscription(
  db: Queryable,
  subscriptionId: string,
): Promise<readonly DeliveryMessage[] | undefined> {
  const health = await lockHealth(db, subscriptionId);
  if (health?.isOpen !== true) return undefined;
  await closeCircuit(db, subscriptionId);
  const { tenant, url, failingSince } = health;
  return recordSubscriptionEvent(db, {
    ...{ tenant, subscriptionId, url, type: 'webhook_subscription.recovered' },
    data: { failingSince },
  });
}
