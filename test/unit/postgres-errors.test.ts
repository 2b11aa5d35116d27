import pg from 'pg';
import { expect, test } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import {
  isConnectionLost,
  isRowSpecific,
  isTransient,
  isUnavailable,
  PermanentError,
  toConnectionError,
} from '../../src/postgres/errors.ts';

function databaseError(code: string): Error {
  return Object.assign(new pg.DatabaseError('refused', 7, 'error'), { code });
}

/** An error as Prisma's adapter for pg wraps it. */
function adapterError(code: string): Error {
  return Object.assign(new Error('adapter'), { cause: { originalCode: code, kind: 'postgres' } });
}

function prismaError(code: string): Error {
  const meta = { driverAdapterError: adapterError(code) };
  return new Prisma.PrismaClientKnownRequestError('refused', { code: 'P2010', clientVersion: '7', meta });
}

test.each([
  ['08006', 'unavailable lost', 'the connection broke'],
  ['53300', 'unavailable', 'too many connections'],
  ['57P01', 'unavailable lost', 'an operator stopped it'],
  ['57P02', 'unavailable lost', 'another session crashed'],
  ['57P03', 'unavailable lost', 'it is starting or shutting down'],
  ['57P05', 'unavailable lost', 'the session was idle for too long'],
  ['25006', 'unavailable lost', 'it is a standby'],
  ['25P03', 'unavailable lost', 'our transaction stalled'],
  ['25P04', 'unavailable lost', 'our transaction took too long'],
  ['40P01', 'transient row-specific', 'a deadlock'],
  ['55P03', 'transient row-specific', 'a lock was not free'],
  ['57014', 'transient row-specific', 'the statement took too long'],
  ['58030', 'transient row-specific', 'a page cannot be read'],
  ['XX001', 'permanent row-specific', 'a page is damaged'],
  ['22P05', 'permanent row-specific', 'a value cannot be stored'],
  ['23505', 'permanent row-specific', 'a constraint is violated'],
])('the SQLSTATE %s is classified as %s: %s', (code, kinds) => {
  const isUnavailableNow = kinds.includes('unavailable');
  // Errors of pg, and the same errors wrapped by Prisma and its adapter.
  for (const error of [databaseError(code), adapterError(code), prismaError(code)]) {
    expect(isUnavailable(error)).toBe(isUnavailableNow);
    expect(isTransient(error)).toBe(isUnavailableNow || kinds.includes('transient'));
    expect(isRowSpecific(error)).toBe(kinds.includes('row-specific'));
    expect(isConnectionLost(error)).toBe(kinds.includes('lost'));
  }
});

test('an error of pg or a socket without an SQLSTATE counts as a lost connection', () => {
  const errors = ['Connection terminated unexpectedly', 'Query read timeout', 'whatever comes in the next version'];
  for (const cause of errors.map((message) => new Error(message))) {
    const error = toConnectionError(cause, '08006');
    expect(error.message).toBe(cause.message);
    expect([isUnavailable(error), isConnectionLost(error), isRowSpecific(error)]).toEqual([true, true, false]);
  }
  const bug = new TypeError('undefined is not a function');
  expect(toConnectionError(bug, '08006')).toBe(bug);
  expect(isUnavailable(bug)).toBe(false);
});

test('a network error is transient and not row-specific; a bug is row-specific and not transient', () => {
  const refused = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
  expect([isTransient(refused), isRowSpecific(refused)]).toEqual([true, false]);
  const bug = new TypeError('undefined is not a function');
  expect([isTransient(bug), isRowSpecific(bug)]).toEqual([false, true]);
});

test('a permanent error is not transient, even with a transient cause', () => {
  expect(isTransient(new PermanentError('permanent', { cause: databaseError('40001') }))).toBe(false);
});
