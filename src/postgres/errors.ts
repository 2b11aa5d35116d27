import pg from 'pg';
import { Prisma } from '../generated/prisma/client.ts';

/**
 * The one place that says what an error of Postgres means, whether pg, its pool or Prisma reports it. By SQLSTATE, never
 * by its text: what has no SQLSTATE of its own gets one from toConnectionError().
 */

/** The connection could not be opened, broke, or got no answer in time (SQLSTATE class 08), or is closed on our side (57P01). */
class ConnectionError extends pg.DatabaseError {
  constructor(sqlState: '08001' | '08006' | '57P01', message: string) {
    super(message, 0, 'error');
    // Prisma's adapter takes an error for Postgres's own only with a severity.
    this.severity = 'FATAL';
    this.code = sqlState;
  }
}

/** Errors that an immediate retry cannot fix, whatever their cause. */
export class PermanentError extends Error {}

/**
 * Connection (08), out of resources (53), shutting down or starting up, or closed for being idle (57P), read-only (25006,
 * a standby), and a transaction or a session of ours that was ended for taking too long (25P03, 25P04).
 */
const UNAVAILABLE = /^(?:08|53|57P|25006$|25P03$|25P04$)/;
/**
 * Besides: rolled back for the sake of others (40), a lock that was not free (55P03), cancelled (57), a system error (58),
 * and a prepared statement that this session does not have any more (26000) or whose tables a migration changed (0A000).
 */
const TRANSIENT = /^(?:40|55P03$|57|58|26000$|0A000$)/;
/** Those transient errors that one damaged or locked row can cause in a healthy Postgres. */
const ROW_SPECIFIC = /^(?:40|55P03$|57014$|58)/;
/** A statement or its wait for a lock took too long. */
const TIMEOUT = /^(?:57014|55P03)$/;
/**
 * After these a connection is useless: it has ended or is about to, leads to a server that cannot be written to, or its
 * prepared statements do not work any more.
 */
const CONNECTION_LOST = /^(?:08|57P|25006$|25P03$|25P04$|26000$|0A000$)/;
const READ_ONLY = '25006';
/** Prisma's words for a Postgres that cannot be reached, has no connection free, or is too slow for a transaction. */
const PRISMA_UNAVAILABLE: ReadonlySet<string> = new Set(['P1001', 'P1002', 'P1008', 'P1017', 'P2024', 'P2028']);
const MAX_DEPTH = 5;

/** The SQLSTATE that Postgres, or toConnectionError(), gave an error of pg or of Prisma, or one of its causes. */
export function sqlStateOf(error: unknown, depth = 0): string | undefined {
  if (typeof error !== 'object' || error === null || depth > MAX_DEPTH) return undefined;
  if (error instanceof pg.DatabaseError) return error.code;
  // A driver adapter's error keeps the SQLSTATE in its cause, and Prisma's own error keeps that one in `meta`.
  if ('originalCode' in error && typeof error.originalCode === 'string') return error.originalCode;
  const meta = error instanceof Prisma.PrismaClientKnownRequestError ? error.meta : undefined;
  const inner = meta?.['driverAdapterError'] ?? ('cause' in error ? error.cause : undefined);
  return sqlStateOf(inner, depth + 1);
}

/** Whether Postgres cannot be reached or cannot be written to right now, whatever the statement is. */
export function isUnavailable(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (state !== undefined) return UNAVAILABLE.test(state);
  if (error instanceof Prisma.PrismaClientInitializationError) return true;
  return error instanceof Prisma.PrismaClientKnownRequestError && PRISMA_UNAVAILABLE.has(error.code);
}

/** Whether the same work may succeed later: Postgres was unavailable or busy; it did not refuse these values. */
export function isTransient(error: unknown): boolean {
  if (error instanceof PermanentError) return false;
  const state = sqlStateOf(error);
  if (state !== undefined) return UNAVAILABLE.test(state) || TRANSIENT.test(state);
  return error instanceof Error && !isBug(error);
}

/** Whether one row may have caused it: then nothing was written, and without that row it may be. */
export function isRowSpecific(error: unknown): boolean {
  return !isTransient(error) || ROW_SPECIFIC.test(sqlStateOf(error) ?? '');
}

/** Whether Postgres ended a statement because it, or its wait for a lock, took too long: with less to do it may not. */
export function isTimeout(error: unknown): boolean {
  return TIMEOUT.test(sqlStateOf(error) ?? '');
}

/** Whether the connection that it came over must not be used again. */
export function isConnectionLost(error: unknown): boolean {
  return CONNECTION_LOST.test(sqlStateOf(error) ?? '');
}

/** Whether the server cannot be written to, as the old primary after a failover. */
export function isReadOnly(error: unknown): boolean {
  return sqlStateOf(error) === READ_ONLY;
}

/**
 * An error that pg, its pool or a socket report in words of their own becomes a ConnectionError; errors of Postgres and bugs of ours
 * stay what they are.
 */
export function toConnectionError(error: Error, sqlState: '08001' | '08006'): Error {
  if (error instanceof pg.DatabaseError || isBug(error)) return error;
  const message = error.message === '' ? error.name : error.message;
  return Object.assign(new ConnectionError(sqlState, message), { cause: error });
}

/** For work that asks for a connection after the stop has closed them. */
export function closedError(): Error {
  return new ConnectionError('57P01', 'this process is stopping and has closed its connections to Postgres');
}

function isBug(error: Error): boolean {
  return error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError;
}
