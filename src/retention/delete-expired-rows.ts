import type { Queryable } from '../postgres/transaction.ts';
import { uuid7Floor } from '../lib/uuid7.ts';
import { deleteMisplacedRows } from './delete-misplaced-rows.ts';
import { deleteOldCounts } from './delete-old-counts.ts';
import { deleteOldRejections } from './delete-old-rejections.ts';
import { deleteOldReplays } from './delete-old-replays.ts';
import { deleteOldSettings } from './delete-old-settings.ts';
import { forgetEventIds } from './forget-event-ids.ts';
import { inBatches, type Pace } from './in-batches.ts';
import { listPartitions } from './list-partitions.ts';
import { expiryOf, gapsBefore, type Retention, type TimeRange } from './partition-plan.ts';

const BATCH = 1_000;

/** How many rows went, and whether all that had to go did. */
export type RowDeletion = { count: number; isDone: boolean };

/**
 * Deletes what is older than the retention and lies in no partition that can be dropped: strays in the default
 * partitions, rejected events, replays, counts of attempts, and of events that are gone the publishers' ids and the
 * settings they were matched with.
 */
export async function deleteExpiredRows(
  db: Queryable,
  { pace, ...retention }: Retention & { readonly pace: Pace },
): Promise<RowDeletion> {
  const result: RowDeletion = { count: 0, isDone: true };
  const beforeId = uuid7Floor(expiryOf(retention));
  for (const deletion of [
    deleteMisplacedRows,
    deleteOldRejections,
    deleteOldSettings,
    deleteOldReplays,
    deleteOldCounts,
  ]) {
    const isDone = await inBatches(pace, async () => {
      const count = await deletion(db, { beforeId, limit: BATCH });
      result.count += count;
      return count < BATCH ? 'done' : 'more';
    });
    result.isDone &&= isDone;
  }
  const events = (await listPartitions(db)).filter(({ table }) => table === 'events');
  for (const gap of gapsBefore(expiryOf(retention), events)) {
    const { count, isDone } = await forgetIds(db, { gap, pace });
    result.count += count;
    result.isDone &&= isDone;
  }
  return result;
}

async function forgetIds(
  db: Queryable,
  { gap, pace }: { readonly gap: TimeRange; readonly pace: Pace },
): Promise<RowDeletion> {
  let total = 0;
  let fromId = uuid7Floor(gap.fromMs);
  const isDone = await inBatches(pace, async () => {
    const { count, nextFromId } = await forgetEventIds(db, { fromId, toId: uuid7Floor(gap.toMs), limit: BATCH });
    total += count;
    fromId = nextFromId ?? fromId;
    return nextFromId === undefined ? 'done' : 'more';
  });
  return { count: total, isDone };
}
