import pg from 'pg';
import { expect, test } from 'vitest';
import { isTransient, LastingError, mayBeOfOneRow } from '../../src/database/transient-error.ts';

function databaseError(code: string): Error {
  return Object.assign(new pg.DatabaseError('refused', 7, 'error'), { code });
}

test.each([
  ['08006', true, false, 'the connection broke'],
  ['40P01', true, true, 'a deadlock'],
  ['53300', true, false, 'too many connections'],
  ['57P01', true, false, 'an operator stopped it'],
  ['25P03', true, false, 'our transaction stood still'],
  ['57014', true, true, 'the statement took too long'],
  ['58030', true, true, 'a page cannot be read'],
  ['XX001', false, true, 'a page is damaged'],
  ['22P05', false, true, 'a value cannot be stored'],
  ['23505', false, true, 'a constraint is violated'],
])('%s is transient: %s, may be of one row: %s (%s)', (code, transient, ofOneRow) => {
  expect(isTransient(databaseError(code))).toBe(transient);
  expect(mayBeOfOneRow(databaseError(code))).toBe(ofOneRow);
});

test('an error of the network is transient, and of no row; a bug is the other way round', () => {
  const refused = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
  expect([isTransient(refused), mayBeOfOneRow(refused)]).toEqual([true, false]);
  const bug = new TypeError('undefined is not a function');
  expect([isTransient(bug), mayBeOfOneRow(bug)]).toEqual([false, true]);
});

test('what was given up is not transient, whatever it was given up for', () => {
  expect(isTransient(new LastingError('given up', { cause: databaseError('40001') }))).toBe(false);
});
