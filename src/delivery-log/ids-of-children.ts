import { leastChildId } from '../lib/clock-drift.ts';
import type { Queryable } from '../postgres/transaction.ts';

export type ChildPage = {
  readonly of: 'attempts of deliveries' | 'deliveries of events';
  readonly parentIds: readonly string[];
  /** Backwards, from `beyondId` to what is newer. */
  readonly isBackwards: boolean;
  /** Where the page before ended; undefined: at the beginning. */
  readonly beyondId: string | undefined;
  /** For each parent. */
  readonly limit: number;
};

/** The ids of a page of each parent's children, newest first. None is older than its parent, but for other clocks. */
export async function idsOfChildren(db: Queryable, page: ChildPage): Promise<string[]> {
  const { parentIds, beyondId = null, limit, isBackwards } = page;
  const [table, column] =
    page.of === 'attempts of deliveries'
      ? (['attempts', 'delivery_id'] as const)
      : (['deliveries', 'event_id'] as const);
  const { rows } = await db.query<{ id: string }>(
    `SELECT child.id FROM unnest($1::uuid[], $2::uuid[]) AS parent (id, earliest)
     CROSS JOIN LATERAL (
       SELECT c.id FROM ${table} c
       WHERE c.${column} = parent.id AND c.id >= parent.earliest
         AND ($3::uuid IS NULL OR c.id ${isBackwards ? '>' : '<'} $3::uuid)
       ORDER BY c.id ${isBackwards ? 'ASC' : 'DESC'} LIMIT $4
     ) AS child`,
    [parentIds, parentIds.map(leastChildId), beyondId, limit],
  );
  return rows.map(({ id }) => id);
}
