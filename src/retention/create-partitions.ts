import pg from 'pg';
import type { Queryable } from '../postgres/transaction.ts';
import { uuid7Floor } from '../lib/uuid7.ts';
import { inTransaction } from '../postgres/in-transaction.ts';
import { listPartitions, PARTITIONED_TABLES, type PartitionedTable } from './list-partitions.ts';
import { lockTables } from './lock-tables.ts';
import { missingRanges, type Retention, type TimeRange } from './partition-plan.ts';

/** Any number: it only has to be the same in every process of every version. */
const PARTITIONS_LOCK = 7_221_951;
/** Making a partition reads the whole default one, and all wait for that: with more rows than this it is not done. */
const MAX_DEFAULT_ROWS = 100_000;
const STATEMENT_MS = 10_000;

/** `hasRoom` is false if nothing was done because a default partition has too many rows. */
export type Creation = { readonly created: readonly string[]; readonly hasRoom: boolean };

/**
 * Makes the partitions that will be needed, of all three tables or of none; what a default partition has of their time
 * moves over. On a connection of its own. Any number of processes may do this at once. Throws if the tables were in use
 * for too long (see isTimeout): then it is to be tried again.
 */
export async function createPartitions(client: Queryable, retention: Retention): Promise<Creation> {
  if (missingRanges(await listPartitions(client), retention).length === 0) return { created: [], hasRoom: true };
  if (await hasFullDefault(client)) return { created: [], hasRoom: false };
  return inTransaction(client, async () => {
    await client.query(`SET LOCAL lock_timeout = ${STATEMENT_MS}`);
    await client.query('SELECT pg_advisory_xact_lock($1)', [PARTITIONS_LOCK]);
    // Somebody else may have made them meanwhile.
    const ranges = missingRanges(await listPartitions(client), retention);
    const created: string[] = [];
    if (ranges.length === 0) return { created, hasRoom: true };
    // The parents too, so that nobody has looked up where a row is before it moves.
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

/** Those that can be written: not the generated ones. */
async function listColumns(client: Queryable, table: PartitionedTable): Promise<string> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT quote_ident(attname) AS name FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`,
    [table],
  );
  return rows.map(({ name }) => name).join(', ');
}
