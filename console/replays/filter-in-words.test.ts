import { expect, test } from 'vitest';
import { filterInWords, listParams } from './filter-in-words.ts';

test('a filter is one sentence part, without the tenant', () => {
  const filter = { tenant: 'acme', statuses: ['FAILURE'], eventTypes: ['order.*'], from: '2026-01-31T12:00:00.000Z' };
  expect(filterInWords(filter, 'utc')).toBe('failed deliveries of order.* from 2026-01-31 12:00:00.000 UTC');
});

test('without conditions it is all deliveries, and other conditions are shown as they are', () => {
  expect(filterInWords({ tenant: 'acme' }, 'utc')).toBe('all deliveries');
  expect(filterInWords({ statusCodes: [{ from: 500, to: 599 }] }, 'utc')).toBe(
    'all deliveries, statusCodes [{"from":500,"to":599}]',
  );
});

test('the list of deliveries gets the only subscription and the only event type of a filter', () => {
  expect(listParams({ subscriptionIds: ['a'], eventTypes: ['order.*'] })).toEqual({
    subscription: 'a',
    type: 'order.*',
  });
  expect(listParams({ subscriptionIds: ['a', 'b'], eventTypes: ['x', 'y'] })).toEqual({});
});
