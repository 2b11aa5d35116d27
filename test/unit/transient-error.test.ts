import pg from 'pg';
import { expect, test } from 'vitest';
import { isTransient } from '../../src/database/transient-error.ts';

function databaseError(code: string): Error {
  return Object.assign(new pg.DatabaseError('refused', 7, 'error'), { code });
}

test.each([
  ['08006', true, 'the connection broke'],
  ['40P01', true, 'a deadlock'],
  ['53300', true, 'too many connections'],
  ['57P01', true, 'an operator stopped it'],
  ['25P03', true, 'our transaction stood still'],
  ['57014', true, 'the statement took too long'],
  ['22P05', false, 'a value cannot be stored'],
  ['23505', false, 'a constraint is violated'],
])('%s is transient: %s (%s)', (code, expected) => {
  expect(isTransient(databaseError(code))).toBe(expected);
});

test('an error of the network is transient, a bug is not', () => {
  expect(isTransient(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }))).toBe(true);
  expect(isTransient(new TypeError('undefined is not a function'))).toBe(false);
});
