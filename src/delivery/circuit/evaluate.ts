import type { DeactivationReason } from '../../generated/prisma/client.ts';
import { uuid7Floor } from '../../lib/uuid7.ts';
import type { Queryable } from '../../postgres/client.ts';
import { CANCEL_LIMIT_ON_DEACTIVATION, cancelPending } from '../queue/cancel.ts';
import type { DeliveryMessage } from '../queue/message.ts';
import { closeCircuit } from '../queue/state.ts';
import { recordSubscriptionEvent } from './notices.ts';
import { countNotice, deactivate, lockCircuitStats, openCircuit, recentAttempts } from './store.ts';

/** What is known of a subscription with an attempt that failed. */
export type CircuitStats = {
  readonly isOpen: boolean;
  /** How many of the latest attempts failed in a row, counted to 20. */
  readonly failuresInARow: number;
  /** Of the last five minutes, at most the latest 1,000. */
  readonly recent: { readonly attempts: number; readonly failures: number };
  /** For how long there has been no success. */
  readonly failingForMs: number;
  /** How many notices of that have been given since the circuit opened. */
  readonly noticeCount: number;
  /** How long ago the last one was. */
  readonly noticedForMs: number;
};

export type CircuitDecision =
  | { readonly kind: 'nothing' }
  /** Open the circuit (send nothing but a probe now and then), or leave it open; tell the tenant in either case. */
  | { readonly kind: 'open' | 'notice'; readonly noticeCount: number; readonly progressPercent: number }
  | { readonly kind: 'deactivate' };

const RECENT_MS = 300_000;
const MAX_RECENT = 1_000;
const MAX_IN_A_ROW = 20;
const MIN_ATTEMPTS = 10;
const FAILURE_RATE = 0.7;
const FIRST_PROBE_MS = 30_000;
/** After so long without a success there is nobody to deliver to. */
export const DEACTIVATE_AFTER_MS = 5 * 86_400_000;
/** The first notice comes with the opening of the circuit, the others on the way to deactivation. */
const NOTICES_PERCENT = [0, 50, 70, 90] as const;
/** From the last notice to deactivation: what is left of the five days at 90 %, also when the notice came late. */
export const LAST_NOTICE_MS = 43_200_000;

/**
 * What to do about a subscription after one of its attempts failed. Only an open circuit leads to notices and to
 * deactivation: a few failures with days between them do not. Whoever is deactivated has been given the last notice,
 * and time to act on it: with little traffic nothing may have failed when the notices were due.
 */
export function evaluateCircuit(health: CircuitStats): CircuitDecision {
  const { isOpen, failingForMs, noticeCount, noticedForMs } = health;
  if (!isOpen && !failsTooOften(health)) return { kind: 'nothing' };
  const due = NOTICES_PERCENT.filter((percent) => failingForMs * 100 >= percent * DEACTIVATE_AFTER_MS);
  if (!isOpen || due.length > noticeCount) {
    return { kind: isOpen ? 'notice' : 'open', noticeCount: due.length, progressPercent: due.at(-1) ?? 0 };
  }
  const isOver = failingForMs >= DEACTIVATE_AFTER_MS && noticedForMs >= LAST_NOTICE_MS;
  return { kind: isOver ? 'deactivate' : 'nothing' };
}

function failsTooOften({ failuresInARow, recent }: CircuitStats): boolean {
  if (failuresInARow >= MAX_IN_A_ROW) return true;
  return recent.attempts >= MIN_ATTEMPTS && recent.failures >= FAILURE_RATE * recent.attempts;
}

type Evaluation = {
  readonly verdict: CircuitDecision;
  /** To be published once the transaction is committed. */
  readonly messages: readonly DeliveryMessage[];
};

/** Judges a subscription after one of its attempts failed, and does what the verdict says, but for deactivating it. */
export async function evaluateSubscription(db: Queryable, subscriptionId: string): Promise<Evaluation> {
  const health = await lockCircuitStats(db, subscriptionId);
  if (health === undefined) return { verdict: { kind: 'nothing' }, messages: [] };
  const closedAt = health.closedAt?.getTime() ?? 0;
  const attempts = await recentAttempts(db, {
    ...{ subscriptionId, since: new Date(closedAt), sinceId: uuid7Floor(closedAt), maxInARow: MAX_IN_A_ROW },
    recentSinceId: uuid7Floor(Math.max(closedAt, health.nowMs - RECENT_MS)),
    maxRecent: MAX_RECENT,
  });
  const verdict = evaluateCircuit({ ...health, ...attempts });
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
  const health = await lockCircuitStats(db, subscriptionId);
  if (health?.isOpen !== true) return undefined;
  await closeCircuit(db, subscriptionId);
  const { tenant, url, failingSince } = health;
  return recordSubscriptionEvent(db, {
    ...{ tenant, subscriptionId, url, type: 'webhook_subscription.recovered' },
    data: { failingSince },
  });
}

/**
 * Switches a subscription off, cancels what is pending, and tells the tenant. Returns the messages to be published once
 * that is committed; undefined if it was not active.
 */
export async function deactivateSubscription(
  db: Queryable,
  { subscriptionId, reason }: { readonly subscriptionId: string; readonly reason: DeactivationReason },
): Promise<readonly DeliveryMessage[] | undefined> {
  const deactivated = await deactivate(db, { subscriptionId, reason });
  if (deactivated === undefined) return undefined;
  await cancelPending(db, { subscriptionId, limit: CANCEL_LIMIT_ON_DEACTIVATION });
  await closeCircuit(db, subscriptionId);
  return recordSubscriptionEvent(db, {
    ...{ tenant: deactivated.tenant, subscriptionId, url: deactivated.url, type: 'webhook_subscription.deactivated' },
    data: { reason },
  });
}
