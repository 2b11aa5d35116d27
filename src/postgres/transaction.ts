import pg from 'pg';

/** What runs one SQL statement: the pool, or a transaction. */
export type Queryable = {
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- who selects knows what comes
  query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<{ readonly rows: Row[] }>;
};

/** Runs `work` in one transaction, rolled back if it throws. */
export function transaction<T>(pool: pg.Pool, work: (client: Queryable) => Promise<T>): Promise<T> {
  return withClient(
    pool,
    async (client) => {
      await client.query('BEGIN');
      const result = await work(client);
      await client.query('COMMIT');
      return result;
    },
    async (client, error) => {
      // Without an answer of Postgres, the statement may still be running.
      if (!(error instanceof pg.DatabaseError)) throw error;
      await client.query('ROLLBACK');
    },
  );
}

type Recover = (client: pg.PoolClient, error: unknown) => Promise<void>;

/**
 * Runs `work` with a connection of the pool. After an error of `work` the connection is closed, unless `recover` resolves.
 */
export async function withClient<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
  recover: Recover = (_client, error) => Promise.reject(toError(error)),
): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const onError = (error: unknown) => {
    broken ??= toError(error);
  };
  // The pool listens to idle clients only; a connection that breaks in use fails our statements, and without a listener
  // it would also end the process.
  client.on('error', onError);
  try {
    return await work(client);
  } catch (error) {
    await recover(client, error).catch(onError);
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
