import pg from 'pg';

type TableLock = { readonly table: string; readonly mode?: 'ACCESS EXCLUSIVE' | 'SHARE' };

/**
 * Locks the table over its own connection until the returned function is called. The default mode blocks readers and
 * writers; `SHARE` blocks only writers.
 */
export async function lockTable(
  databaseUrl: string,
  { table, mode = 'ACCESS EXCLUSIVE' }: TableLock,
): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: databaseUrl });
  // The database may be dropped while the lock is held.
  client.on('error', () => undefined);
  await client.connect();
  await client.query(`BEGIN; LOCK TABLE ${table} IN ${mode} MODE`);
  return () => client.end();
}

/** Number of statements in the database that are waiting for a lock. */
export async function countWaiting(pool: Pick<pg.Pool, 'query'>): Promise<number> {
  const { rowCount } = await pool.query(
    `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
  );
  return rowCount ?? 0;
}
