import { expect, test } from 'vitest';
import { compareResults } from './compare.ts';

const result = (id: string, matches: boolean) => ({
  matches,
  failedPaths: [],
  event: { id, tenant: 'acme', type: 'order.paid', createdAt: '' },
});

test('an event is gained or lost if the saved filter decides otherwise; one that it was not tried on is neither', () => {
  const edited = [result('a', true), result('b', false), result('c', true), result('new', true)];
  const saved = [result('a', false), result('b', true), result('c', true)];
  expect(compareResults(edited, saved).map(({ change }) => change)).toEqual(['gained', 'lost', undefined, undefined]);
});
