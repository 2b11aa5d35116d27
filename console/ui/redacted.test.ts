import { expect, test } from 'vitest';
import { redacted } from './redacted.ts';

test('names of members stay, and no value does', () => {
  const value = { user: { name: 'Ada', age: 36, tags: ['a', null] }, isPaid: true, empty: [] };
  expect(redacted(value)).toEqual({
    user: { name: '•••', age: '•••', tags: ['•••', '•••'] },
    isPaid: '•••',
    empty: [],
  });
  expect(redacted('text')).toBe('•••');
});

test('a value that is nested very deeply is hidden without a stack overflow', () => {
  const value: unknown = JSON.parse(`${'['.repeat(50_000)}${']'.repeat(50_000)}`);
  expect(JSON.stringify(redacted(value)).length).toBeLessThan(1_000);
});
