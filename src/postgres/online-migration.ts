import type pg from 'pg';

/** The first line of a migration that runs outside a transaction, statement by statement. */
const MARK = '-- online';

export function isOnline(sql: string): boolean {
  return sql.split('\n', 1)[0]?.trim() === MARK;
}

/** The statements of an online migration: each ends with the `;` at the end of a line, so no function can be in one. */
export function statementsOf(sql: string): string[] {
  return sql
    .replace(/^\s*--.*$/gm, '')
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}

type NewIndex = { readonly unique: string; readonly name: string; readonly table: string; readonly rest: string };

const CREATE_INDEX =
  /^CREATE\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)\s+ON\s+(\w+)\s*([\s\S]*)$/i;

/**
 * Runs a statement of an online migration, which may have been run before in part or as a whole: an interrupted process
 * begins the migration again. An index that was left invalid is created anew. An index of a partitioned table, which
 * Postgres does not create concurrently, is created partition by partition.
 */
export async function runOnline(client: pg.Client, statement: string): Promise<void> {
  const [, unique = '', name, table, rest = ''] = CREATE_INDEX.exec(statement) ?? [];
  if (name === undefined || table === undefined) {
    await client.query(statement);
    return;
  }
  const partitions = await partitionsOf(client, table);
  const index = { unique, name, table, rest };
  if (partitions === undefined) await createIndex(client, index);
  else await createPartitionedIndex(client, index);
}

/** Undefined if the table has none because it is not partitioned. */
async function partitionsOf(client: pg.Client, table: string): Promise<readonly string[] | undefined> {
  const { rows } = await client.query<{ isPartitioned: boolean; names: string[] }>(
    `SELECT t.relkind = 'p' AS "isPartitioned", ARRAY(
       SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = t.oid
     ) AS names
     FROM pg_class t WHERE t.oid = $1::regclass`,
    [table],
  );
  return rows[0]?.isPartitioned === true ? rows[0].names : undefined;
}

async function createIndex(client: pg.Client, { unique, name, table, rest }: NewIndex): Promise<void> {
  const { rowCount } = await client.query(
    'SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid',
    [name],
  );
  if (rowCount === 1) await client.query(`DROP INDEX CONCURRENTLY ${name}`);
  await client.query(`CREATE ${unique}INDEX CONCURRENTLY IF NOT EXISTS ${name} ON ${table} ${rest}`);
}

/** Partitions that are created meanwhile get the index from their parent. */
async function createPartitionedIndex(client: pg.Client, index: NewIndex): Promise<void> {
  const { unique, name, table, rest } = index;
  await client.query(`CREATE ${unique}INDEX IF NOT EXISTS ${name} ON ONLY ${table} ${rest}`);
  for (const partition of (await partitionsOf(client, table)) ?? []) {
    if (await hasPartOf(client, { name, partition })) continue;
    const part = `${name}_${partition.slice(table.length + 1)}`;
    await createIndex(client, { ...index, name: part, table: partition });
    await client.query(`ALTER INDEX ${name} ATTACH PARTITION ${part}`);
  }
}

async function hasPartOf(
  client: pg.Client,
  { name, partition }: { readonly name: string; readonly partition: string },
): Promise<boolean> {
  const { rowCount } = await client.query(
    `SELECT FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid
     WHERE i.inhparent = $1::regclass AND x.indrelid = $2::regclass`,
    [name, partition],
  );
  return rowCount === 1;
}
