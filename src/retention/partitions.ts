import pg from 'pg';
import { groupBy } from '../lib/collections.ts';
import { uuid7Floor, uuid7Time } from '../lib/uuid7.ts';
import type { Queryable } from '../postgres/client.ts';
import { transactionOn } from '../postgres/connection.ts';
import { isTimeout } from '../postgres/errors.ts';
import { expiryOf, missingRanges, type Retention, type TimeRange } from './partition-plan.ts';

/** The tables that are partitioned by ranges of ids. Their partitions have the same bounds. */
const PARTITIONED_TABLES = ['events', 'deliveries', 'attempts'] as const;
type PartitionedTable = (typeof PARTITIONED_TABLES)[number];

type Partition = TimeRange & { readonly table: PartitionedTable; readonly name: string };

/** Arbitrary advisory-lock key. Never change it. */
const PARTITIONS_LOCK = 7_221_951;
/** Maximum rows of a default partition. Creating a partition scans it while queries wait, and is refused with more rows. */
const MAX_DEFAULT_ROWS = 100_000;
const STATEMENT_MS = 10_000;
/**
 * Milliseconds to wait for a table lock. Other queries queue behind the lock request, so it is short. It is also less than
 * Postgres's deadlock_timeout (1 s), so that in a deadlock this statement is aborted and not another transaction.
 */
const LOCK_TIMEOUT_MS = 500;

/** All partitions except the default ones, the oldest first. */
export async function listPartitions(db: Queryable): Promise<Partition[]> {
  const { rows } = await db.query<{ table: PartitionedTable; name: string; bounds: string | null }>(
    `SELECT parent.name AS table, c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds
     FROM unnest($1::text[]) AS parent (name)
     JOIN pg_inherits i ON i.inhparent = parent.name::regclass
     JOIN pg_class c ON c.oid = i.inhrelid`,
    [PARTITIONED_TABLES],
  );
  const partitions = rows.flatMap(({ table, name, bounds }) => {
    // Postgres prints UUIDs in lower case. A default partition has no bounds of this form, and a partition that is being
    // dropped has null.
    const [, from, to] = /FROM \('([0-9a-f-]{36})'\) TO \('([0-9a-f-]{36})'\)/.exec(bounds ?? '') ?? [];
    if (from === undefined || to === undefined) return [];
    return [{ table, name, fromMs: uuid7Time(from), toMs: uuid7Time(to) }];
  });
  return partitions.sort((a, b) => a.fromMs - b.fromMs);
}

/** `hasRoom` is false if nothing was done because a default partition has too many rows. */
type Creation = { readonly created: readonly string[]; readonly hasRoom: boolean };

/**
 * Creates the missing partitions of all three tables atomically, and moves rows of their time ranges out of the default
 * partitions. `client` must be a connection that is not shared. Processes may call this concurrently. Throws a timeout
 * (isTimeout) if the tables were in use for too long; the caller retries.
 */
export async function createPartitions(client: Queryable, retention: Retention): Promise<Creation> {
  if (missingRanges(await listPartitions(client), retention).length === 0) return { created: [], hasRoom: true };
  if (await hasFullDefault(client)) return { created: [], hasRoom: false };
  return transactionOn(client, async () => {
    await client.query(`SET LOCAL lock_timeout = ${STATEMENT_MS}`);
    await client.query('SELECT pg_advisory_xact_lock($1)', [PARTITIONS_LOCK]);
    // Another process may have created them in the meantime.
    const ranges = missingRanges(await listPartitions(client), retention);
    const created: string[] = [];
    if (ranges.length === 0) return { created, hasRoom: true };
    // Also locks the parents, so that no concurrent query has already chosen the partition of a row that is moved.
    await lockTables(client, [...PARTITIONED_TABLES.map((table) => `ONLY ${table}`), ...DEFAULT_PARTITIONS]);
    await client.query(`SET LOCAL statement_timeout = ${STATEMENT_MS}`);
    for (const range of ranges) {
      for (const table of PARTITIONED_TABLES) created.push(await createPartition(client, table, range));
    }
    return { created, hasRoom: true };
  });
}

const DEFAULT_PARTITIONS = PARTITIONED_TABLES.map(defaultOf);

function defaultOf(table: PartitionedTable): string {
  return `${table}_default`;
}

async function hasFullDefault(client: Queryable): Promise<boolean> {
  for (const name of DEFAULT_PARTITIONS) {
    const { rows } = await client.query(`SELECT FROM ${name} OFFSET ${MAX_DEFAULT_ROWS} LIMIT 1`);
    if (rows.length === 1) return true;
  }
  return false;
}

async function createPartition(client: Queryable, table: PartitionedTable, range: TimeRange): Promise<string> {
  const [from, to] = [uuid7Floor(range.fromMs), uuid7Floor(range.toMs)];
  const name = `${table}_${new Date(range.fromMs).toISOString().slice(0, 10).replaceAll('-', '')}`;
  await client.query(`CREATE TABLE ${name} (LIKE ${table} INCLUDING ALL)`);
  const columns = await listColumns(client, table);
  await client.query(
    `WITH moved AS (DELETE FROM ${defaultOf(table)} WHERE id >= $1 AND id < $2 RETURNING ${columns})
     INSERT INTO ${name} (${columns}) SELECT ${columns} FROM moved`,
    [from, to],
  );
  const bounds = `FROM (${pg.escapeLiteral(from)}) TO (${pg.escapeLiteral(to)})`;
  await client.query(`ALTER TABLE ${table} ATTACH PARTITION ${name} FOR VALUES ${bounds}`);
  return name;
}

/** The table's columns, without generated ones. */
async function listColumns(client: Queryable, table: PartitionedTable): Promise<string> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT quote_ident(attname) AS name FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`,
    [table],
  );
  return rows.map(({ name }) => name).join(', ');
}

type Dropping = {
  /** The names of the dropped partitions. */
  readonly dropped: readonly string[];
  /** The names of expired partitions that are kept because of pending deliveries. */
  readonly kept: readonly string[];
  /** Whether a partition was in use. The caller then retries soon. */
  readonly isBusy: boolean;
};

type DropOptions = Retention & { readonly signal: AbortSignal };

/**
 * Drops partitions whose rows have all expired. Attempts expire by age only; events are dropped together with their
 * deliveries, once none of the deliveries is pending. `client` must be a connection that is not shared, and only one process
 * at a time may call this.
 */
export async function dropPartitions(client: Queryable, { signal, ...retention }: DropOptions): Promise<Dropping> {
  const expired = (await listPartitions(client)).filter(({ toMs }) => toMs <= expiryOf(retention));
  const result = { dropped: new Array<string>(), kept: new Array<string>() };
  // Each group is dropped in one transaction.
  const groups = groupBy(expired, ({ table, fromMs }) => `${table === 'attempts'}:${fromMs}`);
  for (const group of groups.values()) {
    if (signal.aborted) break;
    const fate = await dropGroup(client, group);
    // Each attempt to lock delays other queries, so the remaining partitions are left for the next round.
    if (fate === 'busy') return { ...result, isBusy: true };
    result[fate].push(...group.map(({ name }) => name));
  }
  return { ...result, isBusy: false };
}

async function dropGroup(client: Queryable, group: readonly Partition[]): Promise<'dropped' | 'kept' | 'busy'> {
  const mayHavePending = group.some(({ table }) => table !== 'attempts');
  // The first read takes no lock, because it may have to visit dead index entries. It marks them, so the second is fast.
  if (mayHavePending && (await hasPending(client, group))) return 'kept';
  try {
    return await transactionOn(client, async () => {
      // Locks the partitions before their parents: while this waits for them, queries on other partitions are not blocked.
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

/** Whether any delivery of these partitions, or of an event in them, is pending. */
async function hasPending(client: Queryable, group: readonly TimeRange[]): Promise<boolean> {
  const fromMs = Math.min(...group.map((partition) => partition.fromMs));
  const toMs = Math.max(...group.map((partition) => partition.toMs));
  const { rows } = await client.query(PENDING, [uuid7Floor(fromMs), uuid7Floor(toMs)]);
  return rows.length > 0;
}

// A union of queries, each of which can use a partial index that contains only its rows.
const PENDING = ['id', 'event_id']
  .flatMap((column) =>
    ['IS NULL', 'IS NOT NULL'].map(
      (presence) =>
        `(SELECT FROM deliveries WHERE ${column} >= $1 AND ${column} < $2 AND status = 'PENDING'
          AND enqueued_at ${presence} LIMIT 1)`,
    ),
  )
  .join(' UNION ALL ');

/**
 * Locks these tables exclusively until the transaction ends; times out after LOCK_TIMEOUT_MS (isTimeout). Later statements
 * of the transaction have the same limit unless they set another one.
 */
async function lockTables(db: Queryable, tables: readonly string[]): Promise<void> {
  await db.query(`SET LOCAL statement_timeout = ${LOCK_TIMEOUT_MS}`);
  await db.query(`LOCK TABLE ${tables.join(', ')} IN ACCESS EXCLUSIVE MODE`);
}
