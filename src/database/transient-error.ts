import pg from 'pg';

/**
 * SQLSTATE classes that say nothing about the statement: connection (08), rolled back (40), out of resources (53),
 * stopped by an operator (57), system error (58), read-only (25006, a standby), and a transaction of ours that stood
 * still (25P03).
 */
const TRANSIENT = /^(08|40|53|57|58|25006|25P03)/;
const STATEMENT_TIMEOUT = '57014';
/** Of those, what one damaged or locked row can cause as well, in a Postgres that answers. */
const OF_ONE_ROW = /^(40|57014|58)/;

/** What trying again soon would not mend, whatever its cause is. */
export class LastingError extends Error {}

/** Whether the same work may succeed later: Postgres was away or busy, rather than refusing these values, and we have no bug. */
export function isTransient(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return error.code === undefined || TRANSIENT.test(error.code);
  if (error instanceof LastingError) return false;
  const isBug = error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError;
  return error instanceof Error && !isBug;
}

/** Whether it may be one row's fault: then nothing was written, and without that row it may be. */
export function mayBeOfOneRow(error: unknown): boolean {
  return !isTransient(error) || (error instanceof pg.DatabaseError && OF_ONE_ROW.test(error.code ?? ''));
}

/** Whether Postgres gave up a statement because it took too long: with less to do it may not. */
export function isTimeout(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === STATEMENT_TIMEOUT;
}
