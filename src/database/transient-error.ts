import pg from 'pg';

/**
 * SQLSTATE classes that say nothing about the statement: connection (08), rolled back (40), out of resources (53),
 * stopped by an operator (57), system error (58), and read-only (25006, a standby).
 */
const TRANSIENT = /^(08|40|53|57|58|25006)/;

/** Whether the same statement may succeed later: Postgres was away or busy, rather than refusing these values. */
export function isTransient(error: unknown): boolean {
  return !(error instanceof pg.DatabaseError) || error.code === undefined || TRANSIENT.test(error.code);
}
