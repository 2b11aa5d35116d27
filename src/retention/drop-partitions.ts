import pg from 'pg';
import { isTimeout } from '../postgres/errors.ts';
import type { Queryable } from '../postgres/transaction.ts';
import { uuid7Floor } from '../lib/uuid7.ts';
import { inTransaction } from '../postgres/in-transaction.ts';
import { listPartitions, type Partition } from './list-partitions.ts';
import { lockTables } from './lock-tables.ts';
import { expiryOf, type Retention, type TimeRange } from './partition-plan.ts';

export type Dropping = {
  /** The names of the partitions that are gone. */
  readonly dropped: readonly string[];
  /** Those that pending deliveries keep. */
  readonly kept: readonly string[];
  /** Whether some were in use, so that the rest is to be tried again soon. */
  readonly isBusy: boolean;
};

export type DropOptions = Retention & { readonly signal: AbortSignal };

/**
 * Drops the partitions all of whose rows are older than the retention. Attempts go by their age alone; events and their
 * deliveries go together, once none of the deliveries is pending. On a connection of its own, by one process at a time.
 */
export async function dropPartitions(client: Queryable, { signal, ...retention }: DropOptions): Promise<Dropping> {
  const expired = (await listPartitions(client)).filter(({ toMs }) => toMs <= expiryOf(retention));
  const result = { dropped: new Array<string>(), kept: new Array<string>() };
  for (const group of groupsOf(expired)) {
    if (signal.aborted) break;
    const fate = await dropGroup(client, group);
    // Each try keeps others waiting.
    if (fate === 'busy') return { ...result, isBusy: true };
    result[fate].push(...group.map(({ name }) => name));
  }
  return { ...result, isBusy: false };
}

/** What is dropped in one transaction. */
function groupsOf(partitions: readonly Partition[]): Partition[][] {
  const groups = new Map<string, Partition[]>();
  for (const partition of partitions) {
    const key = `${partition.table === 'attempts'}:${partition.fromMs}`;
    groups.set(key, [...(groups.get(key) ?? []), partition]);
  }
  return [...groups.values()];
}

async function dropGroup(client: Queryable, group: readonly Partition[]): Promise<'dropped' | 'kept' | 'busy'> {
  const mayHavePending = group.some(({ table }) => table !== 'attempts');
  // First without keeping anybody out: this may have to read what later reads know to be dead.
  if (mayHavePending && (await hasPending(client, group))) return 'kept';
  try {
    return await inTransaction(client, async () => {
      // The partitions first: those who know which partition they want are not held up while we wait for these.
      const names = group.map(({ name }) => pg.escapeIdentifier(name));
      const parents = group.flatMap(({ table }) => [`ONLY ${table}`, `${table}_default`]);
      await lockTables(client, [...names, ...parents]);
      if (mayHavePending && (await hasPending(client, group))) return 'kept';
      await client.query(`DROP TABLE ${names.join(', ')}`);
      return 'dropped';
    });
  } catch (error) {
    if (isTimeout(error)) return 'busy';
    throw error;
  }
}

/** Whether any delivery of these partitions, or of an event of theirs, is pending. */
async function hasPending(client: Queryable, group: readonly TimeRange[]): Promise<boolean> {
  const fromMs = Math.min(...group.map((partition) => partition.fromMs));
  const toMs = Math.max(...group.map((partition) => partition.toMs));
  const { rows } = await client.query(PENDING, [uuid7Floor(fromMs), uuid7Floor(toMs)]);
  return rows.length > 0;
}

// In pieces, each of which has an index that holds nothing else.
const PENDING = ['id', 'event_id']
  .flatMap((column) =>
    ['IS NULL', 'IS NOT NULL'].map(
      (presence) =>
        `(SELECT FROM deliveries WHERE ${column} >= $1 AND ${column} < $2 AND status = 'PENDING'
          AND enqueued_at ${presence} LIMIT 1)`,
    ),
  )
  .join(' UNION ALL ');
