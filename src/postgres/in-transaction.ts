import type { Queryable } from './transaction.ts';

/** Runs `work` in one transaction on this connection, rolled back if it throws. */
export async function inTransaction<T>(client: Queryable, work: () => Promise<T>): Promise<T> {
  await client.query('BEGIN');
  try {
    const result = await work();
    await client.query('COMMIT');
    return result;
  } catch (error) {
    // A connection that broke has rolled back as well.
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}
