import { expect, test } from 'vitest';
import { conditionsOf, failedPlaces } from './failed-paths.ts';

test('a condition is named by its path in the data and its operator', () => {
  expect(conditionsOf(['filter.user.age.$gt', 'filter.plan', 'filter'])).toEqual([
    'user.age $gt',
    'plan',
    'the whole filter',
  ]);
});

test('a failed condition belongs to the member that it is about, or to the nearest one that exists', () => {
  const data = { user: { age: 17, tags: ['a'] }, total: null };
  const placeOf = (path: string) => [...failedPlaces([path], data)];
  expect(placeOf('filter.user.age.$gt')).toEqual(['user.age']);
  expect(placeOf('filter.user.name')).toEqual(['user']);
  expect(placeOf('filter.user.name.first.$eq')).toEqual(['user']);
  expect(placeOf('filter.user.tags.length')).toEqual(['user.tags']);
  expect(placeOf('filter.total')).toEqual(['total']);
  expect(placeOf('filter.missing.$exists')).toEqual(['']);
  expect(placeOf('filter.toString')).toEqual(['']);
});

test('conditions below $and keep their member; $or and $not belong to the object that has them', () => {
  const data = { user: { age: 17 }, plan: 'free' };
  expect([...failedPlaces(['filter.$and.1.plan', 'filter.$or', 'filter.user.$not'], data)]).toEqual([
    'plan',
    '',
    'user',
  ]);
  expect([...failedPlaces(['filter.a'], 'text')]).toEqual(['']);
});
