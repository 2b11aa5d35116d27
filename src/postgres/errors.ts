import pg from 'pg';
import { Prisma } from '../generated/prisma/client.ts';

/**
 * Classifies errors of Postgres, whether pg, its pool or Prisma reports them. The classification uses the SQLSTATE and
 * never the text of an error: toConnectionError() gives an SQLSTATE to errors without one.
 */

/**
 * The connection could not be opened, broke, or got no answer in time (SQLSTATE class 08), or this process has closed it
 * (57P01).
 */
class ConnectionError extends pg.DatabaseError {
  constructor(sqlState: '08001' | '08006' | '57P01', message: string) {
    super(message, 0, 'error');
    // Prisma's adapter recognises an error as one of Postgres only if it has a severity.
    this.severity = 'FATAL';
    this.code = sqlState;
  }
}

/** An error that an immediate retry cannot fix, whatever its cause is. */
export class PermanentError extends Error {}

/**
 * SQLSTATEs of an unavailable Postgres: connection errors (08), insufficient resources (53), a server that shuts down or
 * starts, or that closed an idle session (57P), a read-only server such as a standby (25006), and the time limits of an
 * idle transaction (25P03) and of a transaction (25P04).
 */
const UNAVAILABLE = /^(?:08|53|57P|25006$|25P03$|25P04$)/;
/**
 * Further SQLSTATEs of transient errors: serialization failures and deadlocks (40), a lock that was not available (55P03),
 * a cancelled statement (57), a system error (58), and a prepared statement that no longer exists in the session (26000)
 * or whose tables a migration has changed (0A000).
 */
const TRANSIENT = /^(?:40|55P03$|57|58|26000$|0A000$)/;
/** Transient errors that one damaged or locked row can cause in a healthy Postgres. */
const ROW_SPECIFIC = /^(?:40|55P03$|57014$|58)/;
/** A statement exceeded its time limit, or its wait for a lock did. */
const TIMEOUT = /^(?:57014|55P03)$/;
/**
 * After these errors a connection cannot be used: it is closed or about to be closed, its server is read-only, or its
 * prepared statements are invalid.
 */
const CONNECTION_LOST = /^(?:08|57P|25006$|25P03$|25P04$|26000$|0A000$)/;
const READ_ONLY = '25006';
/** The server refused the user or the password (28), or has no such database (3D). */
const LOGIN_REFUSED = /^(?:28|3D)/;
/** Prisma's codes: Postgres is unreachable, no connection of the pool is free, or a transaction exceeded its time limit. */
const PRISMA_UNAVAILABLE: ReadonlySet<string> = new Set(['P1001', 'P1002', 'P1008', 'P1017', 'P2024', 'P2028']);
const MAX_DEPTH = 5;

/**
 * The SQLSTATE of an error of pg or of Prisma, or of one of its causes, from Postgres or from toConnectionError();
 * undefined if there is none.
 */
export function sqlStateOf(error: unknown, depth = 0): string | undefined {
  if (typeof error !== 'object' || error === null || depth > MAX_DEPTH) return undefined;
  if (error instanceof pg.DatabaseError) return error.code;
  // The error of a driver adapter has the SQLSTATE in its cause; Prisma's error has the adapter's error in `meta`.
  if ('originalCode' in error && typeof error.originalCode === 'string') return error.originalCode;
  const meta = error instanceof Prisma.PrismaClientKnownRequestError ? error.meta : undefined;
  const inner = meta?.['driverAdapterError'] ?? ('cause' in error ? error.cause : undefined);
  return sqlStateOf(inner, depth + 1);
}

/** Whether Postgres is unreachable or read-only, independently of the statement. */
export function isUnavailable(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (state !== undefined) return UNAVAILABLE.test(state);
  if (error instanceof Prisma.PrismaClientInitializationError) return true;
  return error instanceof Prisma.PrismaClientKnownRequestError && PRISMA_UNAVAILABLE.has(error.code);
}

/** Whether the server refused the user, the password or the database of the connection. */
export function isLoginRefused(error: unknown): boolean {
  return LOGIN_REFUSED.test(sqlStateOf(error) ?? '');
}

/** The level at which the failure of repeated work is logged: other parts log that Postgres is unavailable. */
export function failureLevel(error: unknown): 'debug' | 'error' {
  return isUnavailable(error) ? 'debug' : 'error';
}

/** Whether the same work may succeed when it is repeated. Also true for unknown errors without an SQLSTATE. */
export function isTransient(error: unknown): boolean {
  if (error instanceof PermanentError) return false;
  const state = sqlStateOf(error);
  if (state !== undefined) return UNAVAILABLE.test(state) || TRANSIENT.test(state);
  return error instanceof Error && !isBug(error);
}

/** Whether one row may have caused the error. Nothing was written then, and the other rows may succeed without that row. */
export function isRowSpecific(error: unknown): boolean {
  return !isTransient(error) || ROW_SPECIFIC.test(sqlStateOf(error) ?? '');
}

/** Whether Postgres aborted a statement because the statement, or its wait for a lock, exceeded its time limit. */
export function isTimeout(error: unknown): boolean {
  return TIMEOUT.test(sqlStateOf(error) ?? '');
}

/** Whether the connection that returned the error must not be used again. */
export function isConnectionLost(error: unknown): boolean {
  return CONNECTION_LOST.test(sqlStateOf(error) ?? '');
}

/** Whether the server is read-only, such as the old primary after a failover. */
export function isReadOnly(error: unknown): boolean {
  return sqlStateOf(error) === READ_ONLY;
}

/**
 * Converts an error of pg, its pool or a socket that has no SQLSTATE to a ConnectionError. Errors of Postgres, and errors
 * that bugs in the engine cause, are returned unchanged.
 */
export function toConnectionError(error: Error, sqlState: '08001' | '08006'): Error {
  if (error instanceof pg.DatabaseError || isBug(error)) return error;
  return Object.assign(new ConnectionError(sqlState, messageOf(error)), { cause: error });
}

/** A name with several addresses causes an error without a message, which has an error for each address. */
function messageOf(error: Error): string {
  if (error.message !== '') return error.message;
  const errors = error instanceof AggregateError ? error.errors : [];
  return errors.flatMap((each) => (each instanceof Error ? [each.message] : [])).join('; ') || error.name;
}

/** The error for code that requests a connection after this process has closed its pools. */
export function closedError(): Error {
  return new ConnectionError('57P01', 'this process is stopping and has closed its connections to Postgres');
}

function isBug(error: Error): boolean {
  return error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError;
}
