import { expect, test } from 'vitest';
import { isOpenGroup, readOpenGroups, withOpened, withToggled } from './open-groups.ts';

const read = (query: string, typeCount = 1_000) => readOpenGroups(new URLSearchParams(query), typeCount);

test('groups of a small catalogue begin open, those of a large one closed', () => {
  expect(isOpenGroup(read('', 40), 'order.', null)).toBe(true);
  expect(isOpenGroup(read('', 41), 'order.', null)).toBe(false);
});

test('the groups of the type that is shown are open', () => {
  expect(isOpenGroup(read(''), 'order.', 'order.paid')).toBe(true);
  expect(isOpenGroup(read(''), 'order.', 'orders.paid')).toBe(false);
});

test('the address keeps each group that was opened or closed, whatever the size of the catalogue is', () => {
  const toggled = withToggled(read(''), 'order.');
  expect(toggled).toEqual({ groups: 'closed', except: 'order.' });
  const groups = read(new URLSearchParams(toggled).toString(), 1);
  expect(isOpenGroup(groups, 'order.', null)).toBe(true);
  expect(isOpenGroup(groups, 'user.', null)).toBe(false);
  expect(withToggled(groups, 'order.')).toEqual({ groups: 'closed', except: '' });
  expect(withToggled(read('', 1), 'order.')).toEqual({ groups: 'open', except: 'order.' });
});

test('groups are opened whether all others are closed or open', () => {
  expect(withOpened(read('groups=closed&except=a.'), ['a.', 'b.'])).toEqual({ groups: 'closed', except: 'a.,b.' });
  expect(withOpened(read('groups=open&except=a.,c.'), ['a.', 'b.'])).toEqual({ groups: 'open', except: 'c.' });
});

test('the address does not grow without end', () => {
  const prefixes = Array.from({ length: 1_000 }, (_, index) => `p${index}.`);
  const { except = '' } = withOpened(read('groups=closed'), prefixes);
  expect(except.split(',')).toHaveLength(40);
  expect(except.endsWith('p999.')).toBe(true);
});
