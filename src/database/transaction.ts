import pg from 'pg';

/** What runs one SQL statement: the pool, or a transaction. */
export type Queryable = {
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- who selects knows what comes
  query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<{ readonly rows: Row[] }>;
};

/** Runs `work` in one transaction, rolled back if it throws. */
export async function transaction<T>(pool: pg.Pool, work: (client: Queryable) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const onError = (error: Error) => {
    broken = error;
  };
  // The pool listens to idle clients only; a connection that breaks while we hold it fails our statements, and without
  // a listener it would also end the process.
  client.on('error', onError);
  try {
    await client.query('BEGIN');
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    if (error instanceof pg.DatabaseError) await client.query('ROLLBACK').catch(onError);
    // Not Postgres's own word: it may not answer at all, and what it is still doing must not be anybody else's.
    else broken ??= error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    client.off('error', onError);
    // A broken client is not given back to the pool.
    client.release(broken);
  }
}
