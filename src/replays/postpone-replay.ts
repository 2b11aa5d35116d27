import type { Queryable } from '../postgres/transaction.ts';

/** Doubled with each failure in a row: what takes long, and for nothing, must not hold up others. */
const FIRST_WAIT_MS = 10_000;
const MAX_WAIT_MS = 300_000;

/** A replay that could not be moved on is looked after again some time later. */
export async function postponeReplay(db: Queryable, id: string): Promise<void> {
  await db.query(
    `UPDATE replays SET failure_count = failure_count + 1,
       next_batch_at = now() + least($2::integer * 2 ^ least(failure_count, 16), $3::integer) * interval '1 ms'
     WHERE id = $1::uuid`,
    [id, FIRST_WAIT_MS, MAX_WAIT_MS],
  );
}
