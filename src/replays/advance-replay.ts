import type { Queryable } from '../postgres/transaction.ts';

export type ReplayStep = {
  readonly id: string;
  /** The last delivery that was dealt with. */
  readonly afterId: string;
  /** How many new deliveries were made, and how many found that nothing was made of. */
  readonly replayed: number;
  readonly skipped: number;
  readonly isLast: boolean;
};

/** So much of the time in which nobody looked is made up for; more would be a burst. */
const CATCH_UP_MS = 250;

/** What a delivery costs that was looked at for nothing: as much as one that is made at the greatest rate. */
const SKIPPED_MS = 1;

/**
 * Moves a replay on, in the transaction that made its new deliveries, and puts off the next by the time that they, and
 * what was skipped, are worth.
 */
export async function advanceReplay(db: Queryable, step: ReplayStep): Promise<void> {
  const { id, afterId, replayed, skipped, isLast } = step;
  await db.query(STATEMENT, [id, afterId, replayed, skipped, isLast, CATCH_UP_MS, SKIPPED_MS]);
}

const STATEMENT = `
  UPDATE replays SET after_id = $2::uuid,
    replayed_count = replayed_count + $3::integer, skipped_count = skipped_count + $4::integer,
    next_batch_at = greatest(next_batch_at, now() - $6::integer * interval '1 ms')
      + $3::integer * interval '1 s' / rate_per_second + $4::integer * $7::integer * interval '1 ms',
    failure_count = 0,
    status = CASE WHEN $5::boolean THEN 'COMPLETED' ELSE status END,
    completed_at = CASE WHEN $5::boolean THEN now() END
  WHERE id = $1::uuid`;
