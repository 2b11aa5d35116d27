import type { Queryable } from './transaction.ts';

/** A replay that could not be moved on is looked after again so much later: it must not hold up others. */
export async function postponeReplay(
  db: Queryable,
  { id, waitMs }: { readonly id: string; readonly waitMs: number },
): Promise<void> {
  await db.query(`UPDATE replays SET next_batch_at = now() + $2::integer * interval '1 ms' WHERE id = $1::uuid`, [
    id,
    waitMs,
  ]);
}
