import pg from 'pg';

type TableLock = { readonly table: string; readonly mode?: 'ACCESS EXCLUSIVE' | 'SHARE' };

/** Over a connection of its own: by default whoever reads the table, else whoever writes to it, waits until the returned function is called. */
export async function lockTable(
  databaseUrl: string,
  { table, mode = 'ACCESS EXCLUSIVE' }: TableLock,
): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(`BEGIN; LOCK TABLE ${table} IN ${mode} MODE`);
  return () => client.end();
}

/** How many statements wait for a lock in the database. */
export async function countWaiting(pool: Pick<pg.Pool, 'query'>): Promise<number> {
  const { rowCount } = await pool.query(
    `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
  );
  return rowCount ?? 0;
}
