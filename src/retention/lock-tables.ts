import type { Queryable } from '../postgres/transaction.ts';

/**
 * Whoever comes after us waits for as long as we wait for a long reader, so it is not long. And less than the second
 * after which Postgres looks for a deadlock, and ends somebody else's transaction: we are the one to give up.
 */
const PATIENCE_MS = 500;

/**
 * Keeps everybody else out of these tables until the transaction ends; gives up after half a second (see isTimeout).
 * The statements after it get as long, unless they say otherwise.
 */
export async function lockTables(db: Queryable, tables: readonly string[]): Promise<void> {
  await db.query(`SET LOCAL statement_timeout = ${PATIENCE_MS}`);
  await db.query(`LOCK TABLE ${tables.join(', ')} IN ACCESS EXCLUSIVE MODE`);
}
