import type { Queryable } from '../postgres/transaction.ts';
import { uuid7Time } from '../lib/uuid7.ts';
import type { TimeRange } from './partition-plan.ts';

/** The tables that are partitioned by ranges of ids; a partition of each has the same bounds. */
export const PARTITIONED_TABLES = ['events', 'deliveries', 'attempts'] as const;
export type PartitionedTable = (typeof PARTITIONED_TABLES)[number];

export type Partition = TimeRange & { readonly table: PartitionedTable; readonly name: string };

/** The partitions there are, but for the default ones, the oldest first. */
export async function listPartitions(db: Queryable): Promise<Partition[]> {
  const { rows } = await db.query<{ table: PartitionedTable; name: string; bounds: string | null }>(
    `SELECT parent.name AS table, c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds
     FROM unnest($1::text[]) AS parent (name)
     JOIN pg_inherits i ON i.inhparent = parent.name::regclass
     JOIN pg_class c ON c.oid = i.inhrelid`,
    [PARTITIONED_TABLES],
  );
  const partitions = rows.flatMap(({ table, name, bounds }) => {
    // Postgres prints UUIDs in lower case; a default partition has no bounds, and one that is just being dropped null.
    const [, from, to] = /FROM \('([0-9a-f-]{36})'\) TO \('([0-9a-f-]{36})'\)/.exec(bounds ?? '') ?? [];
    if (from === undefined || to === undefined) return [];
    return [{ table, name, fromMs: uuid7Time(from), toMs: uuid7Time(to) }];
  });
  return partitions.sort((a, b) => a.fromMs - b.fromMs);
}
