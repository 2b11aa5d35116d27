import { expect, test } from 'vitest';
import { isAt, partOf } from './problems.ts';

const at = (path: string) => ({ path, message: 'is wrong' });

test('a problem of a part of a field is one of the field, and not of another with a longer name', () => {
  expect(['headers', 'headers.0.name', 'headersOf', 'header'].map((path) => isAt(at(path), 'headers'))).toEqual([
    ...[true, true, false, false],
  ]);
});

test('a problem names an entry of a list by its text, and a place in JSON by its path', () => {
  expect(partOf(at('eventTypes.1'), 'eventTypes', ['order.*', 'no type!'])).toBe('no type!');
  expect(partOf(at('filter.eventTypes.0'), 'filter.eventTypes', ['a b'])).toBe('a b');
  expect(partOf(at('filter.total.$gtt'), 'filter')).toBe('total.$gtt');
  expect(partOf(at('eventTypes'), 'eventTypes', ['order.*'])).toBe('');
  expect(partOf(at('eventTypes.7'), 'eventTypes', ['order.*'])).toBe('7');
});
