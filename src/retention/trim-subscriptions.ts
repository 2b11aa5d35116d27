import type { Queryable } from '../postgres/transaction.ts';
import { uuid7Floor } from '../lib/uuid7.ts';
import { hasTime, inBatches, type Pace } from './in-batches.ts';
import { subscriptionsAfter } from './subscriptions-after.ts';
import { deleteDeliveries, deliveriesToTrim, oldestToKeep } from './trim-deliveries.ts';

/** The place before the first subscription, or delivery. */
export const BEGINNING = uuid7Floor(0);
const BATCH = 500;
const SUBSCRIPTIONS = 200;

export type TrimmingRound = {
  /** How many ended deliveries each subscription keeps. */
  readonly keep: number;
  /** Begins with the subscription after this one. */
  readonly afterId: string;
  readonly pace: Pace;
};

/** Trims subscription by subscription. Returns how many deliveries went, and where to go on; undefined after the last one. */
export async function trimSubscriptions(
  db: Queryable,
  { keep, afterId, pace }: TrimmingRound,
): Promise<{ readonly count: number; readonly nextAfterId: string | undefined }> {
  let total = 0;
  let doneId = afterId;
  for (;;) {
    const ids = await subscriptionsAfter(db, { afterId: doneId, limit: SUBSCRIPTIONS });
    for (const subscriptionId of ids) {
      if (!hasTime(pace)) return { count: total, nextAfterId: doneId };
      const { count, isDone } = await trimOne(db, { subscriptionId, keep, pace });
      total += count;
      if (!isDone) return { count: total, nextAfterId: doneId };
      doneId = subscriptionId;
    }
    if (ids.length < SUBSCRIPTIONS) return { count: total, nextAfterId: undefined };
  }
}

type One = { readonly subscriptionId: string; readonly keep: number; readonly pace: Pace };

async function trimOne(
  db: Queryable,
  { subscriptionId, keep, pace }: One,
): Promise<{ readonly count: number; readonly isDone: boolean }> {
  const beforeId = await oldestToKeep(db, { subscriptionId, keep });
  if (beforeId === undefined) return { count: 0, isDone: true };
  let total = 0;
  let afterId = BEGINNING;
  const isDone = await inBatches(pace, async () => {
    const ids = await deliveriesToTrim(db, { subscriptionId, beforeId, afterId, limit: BATCH });
    if (ids.length > 0) total += await deleteDeliveries(db, ids);
    afterId = ids.at(-1) ?? afterId;
    return ids.length < BATCH ? 'done' : 'more';
  });
  return { count: total, isDone };
}
