import { uuid7Floor } from '../../lib/uuid7.ts';
import type { Queryable } from '../../postgres/client.ts';
import { CANCEL_LIMIT_ON_DEACTIVATION, cancelPending } from '../queue/cancel.ts';
import type { DeliveryMessage } from '../queue/message.ts';
import { closeCircuit } from '../queue/state.ts';
import { recordNotice, tryNotice } from './notices.ts';
import { countNotice, type Deactivation, deactivate, lockCircuitStats, openCircuit, recentAttempts } from './store.ts';

/** The data for the decision about a failing subscription. */
export type CircuitStats = {
  readonly isOpen: boolean;
  /** Number of failures since the last success, at most 20. */
  readonly failuresInARow: number;
  /** The latest attempts of the last five minutes, at most 1,000. */
  readonly recent: { readonly attempts: number; readonly failures: number };
  /** Milliseconds since the first failure without a later success. */
  readonly failingForMs: number;
  /** Notices sent to the tenant since the circuit opened. */
  readonly noticeCount: number;
  /** Milliseconds since the last notice. */
  readonly noticedForMs: number;
};

export type CircuitDecision =
  | { readonly kind: 'nothing' }
  /** `open`: open the circuit, so that only probes are sent, and notify the tenant. `notice`: only notify the tenant. */
  | { readonly kind: 'open' | 'notice'; readonly noticeCount: number; readonly progressPercent: number }
  | { readonly kind: 'deactivate' };

/** The circuit opens after MAX_IN_A_ROW failures, or at FAILURE_RATE of at least MIN_ATTEMPTS recent attempts. */
const MAX_IN_A_ROW = 20;
const MIN_ATTEMPTS = 10;
const FAILURE_RATE = 0.7;
const RECENT_MS = 300_000;
const MAX_RECENT = 1_000;
const FIRST_PROBE_MS = 30_000;
/** Milliseconds without a success after which a subscription is deactivated. */
export const DEACTIVATE_AFTER_MS = 5 * 86_400_000;
/** Times of the notices as percentages of DEACTIVATE_AFTER_MS. The first notice is sent when the circuit opens. */
const NOTICES_PERCENT = [0, 50, 70, 90] as const;
/** Minimum milliseconds from the last notice, even if it is late, to deactivation: a tenth of DEACTIVATE_AFTER_MS. */
export const LAST_NOTICE_MS = 43_200_000;

/**
 * Decides what to do about a subscription after a failed attempt. Notices and deactivation require an open circuit, so that
 * single failures with days between them do not deactivate a subscription. A tenant always gets the last notice
 * LAST_NOTICE_MS before the deactivation: with little traffic no evaluation may have taken place when notices were due.
 */
export function evaluateCircuit(stats: CircuitStats): CircuitDecision {
  const { isOpen, failingForMs, noticeCount, noticedForMs } = stats;
  if (!isOpen && !failsTooOften(stats)) return { kind: 'nothing' };
  const due = NOTICES_PERCENT.filter((percent) => failingForMs * 100 >= percent * DEACTIVATE_AFTER_MS);
  if (!isOpen || due.length > noticeCount) {
    return { kind: isOpen ? 'notice' : 'open', noticeCount: due.length, progressPercent: due.at(-1) ?? 0 };
  }
  const isOver = failingForMs >= DEACTIVATE_AFTER_MS && noticedForMs >= LAST_NOTICE_MS;
  return { kind: isOver ? 'deactivate' : 'nothing' };
}

type FailingState = {
  /** Time at which the circuit opened; null if it is closed. */
  readonly openedAt: Date | null;
  readonly failingSince: Date | null;
  readonly noticeCount: number;
  readonly noticedAt: Date | null;
};

/** The earliest time at which a subscription is deactivated if no attempt succeeds; undefined if none is planned. */
export function deactivationTime(
  { openedAt, failingSince, noticeCount, noticedAt }: FailingState,
  now: Date,
): Date | undefined {
  if (openedAt === null || failingSince === null) return undefined;
  const hasLastNotice = isLastNotice(noticeCount) && noticedAt !== null;
  return deactivationAt(failingSince, (hasLastNotice ? noticedAt : now).getTime());
}

function isLastNotice(noticeCount: number): boolean {
  return noticeCount >= NOTICES_PERCENT.length;
}

function deactivationAt(failingSince: Date, lastNoticeMs: number): Date {
  return new Date(Math.max(failingSince.getTime() + DEACTIVATE_AFTER_MS, lastNoticeMs + LAST_NOTICE_MS));
}

function failsTooOften({ failuresInARow, recent }: CircuitStats): boolean {
  if (failuresInARow >= MAX_IN_A_ROW) return true;
  return recent.attempts >= MIN_ATTEMPTS && recent.failures >= FAILURE_RATE * recent.attempts;
}

type Evaluation = {
  readonly decision: CircuitDecision;
  /** Messages for the caller to publish after the commit. */
  readonly messages: readonly DeliveryMessage[];
};

/** Evaluates a subscription after a failed attempt and carries out the decision, except a deactivation. */
export async function evaluateSubscription(db: Queryable, subscriptionId: string): Promise<Evaluation> {
  const stats = await lockCircuitStats(db, subscriptionId);
  if (stats === undefined) return { decision: { kind: 'nothing' }, messages: [] };
  const closedAt = stats.closedAt?.getTime() ?? 0;
  const attempts = await recentAttempts(db, {
    subscriptionId,
    since: new Date(closedAt),
    sinceId: uuid7Floor(closedAt),
    maxInARow: MAX_IN_A_ROW,
    recentSinceId: uuid7Floor(Math.max(closedAt, stats.nowMs - RECENT_MS)),
    maxRecent: MAX_RECENT,
  });
  const decision = evaluateCircuit({ ...stats, ...attempts });
  if (decision.kind === 'nothing' || decision.kind === 'deactivate') return { decision, messages: [] };
  const { noticeCount, progressPercent } = decision;
  // Null if the latest attempt in the log succeeded: then the time without a success starts now.
  const failingSince = stats.failingSince ?? new Date(stats.nowMs);
  if (decision.kind === 'open') await openCircuit(db, { subscriptionId, probeInMs: FIRST_PROBE_MS, failingSince });
  const notice = {
    tenant: stats.tenant,
    subscriptionId,
    url: stats.url,
    type: 'webhook_subscription.failing' as const,
    data: {
      failingSince,
      progressPercent,
      deactivationAt: deactivationAt(failingSince, stats.nowMs),
    },
  };
  const messages = isLastNotice(noticeCount) ? await tryNotice(db, notice) : await recordNotice(db, notice);
  // A deactivation must not follow an omitted notice: the next failed attempt tries again.
  if (messages !== undefined) await countNotice(db, { subscriptionId, noticeCount });
  return { decision, messages: messages ?? [] };
}

/** Closes an open circuit and returns the messages that notify the tenant; undefined if the circuit is not open. */
export async function recoverSubscription(
  db: Queryable,
  subscriptionId: string,
): Promise<readonly DeliveryMessage[] | undefined> {
  const stats = await lockCircuitStats(db, subscriptionId);
  if (stats?.isOpen !== true) return undefined;
  await closeCircuit(db, subscriptionId);
  const { tenant, url, failingSince } = stats;
  return recordNotice(db, {
    tenant,
    subscriptionId,
    url,
    type: 'webhook_subscription.recovered',
    data: { failingSince },
  });
}

/**
 * Deactivates a subscription, cancels its pending deliveries and returns the messages that notify the tenant, for the
 * caller to publish after the commit; undefined if it was not active.
 */
export async function deactivateSubscription(
  db: Queryable,
  deactivation: Deactivation,
): Promise<readonly DeliveryMessage[] | undefined> {
  const { subscriptionId, reason } = deactivation;
  const deactivated = await deactivate(db, deactivation);
  if (deactivated === undefined) return undefined;
  await cancelPending(db, { subscriptionId, limit: CANCEL_LIMIT_ON_DEACTIVATION });
  await closeCircuit(db, subscriptionId);
  return recordNotice(db, {
    tenant: deactivated.tenant,
    subscriptionId,
    url: deactivated.url,
    type: 'webhook_subscription.deactivated',
    data: { reason },
  });
}
