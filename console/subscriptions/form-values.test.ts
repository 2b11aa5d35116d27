import { expect, test } from 'vitest';
import { NEW_SUBSCRIPTION, readForm, valuesOf, withoutEmptyRows } from './form-values.ts';

test('event types are separated by commas, spaces and line breaks', () => {
  const { settings } = readForm({ ...NEW_SUBSCRIPTION, eventTypes: ' order.paid, order.*\n\nuser.created ' });
  expect(settings.eventTypes).toEqual(['order.paid', 'order.*', 'user.created']);
});

test('an empty filter and an empty rate limit are null', () => {
  const { settings, problems } = readForm({ ...NEW_SUBSCRIPTION, filter: ' ', rateLimitPerSecond: '' });
  expect(settings).toMatchObject({ filter: null, rateLimitPerSecond: null });
  expect(problems).toEqual([]);
});

test('texts that are no JSON or no number are problems of their fields', () => {
  const { problems } = readForm({ ...NEW_SUBSCRIPTION, filter: '{', timeoutMs: '5s', maxInFlight: '' });
  expect(problems.map(({ path }) => path)).toEqual(['filter', 'timeoutMs', 'maxInFlight']);
});

test('a header without a value keeps the stored one, and an empty row is left out', () => {
  const headers = [
    { name: 'x-old', value: '' },
    { name: '', value: '' },
    { name: ' x-new ', value: 'one' },
  ];
  const { settings } = readForm(withoutEmptyRows({ ...NEW_SUBSCRIPTION, headers }));
  expect(settings.headers).toEqual([{ name: 'x-old' }, { name: 'x-new', value: 'one' }]);
});

test('the form of a subscription reads as its settings', () => {
  const subscription = {
    id: '0',
    tenant: 'acme',
    url: 'https://example.com/hook',
    description: 'Orders',
    eventTypes: ['order.*', 'user.created'],
    filter: { total: { $gt: 100 } },
    headerNames: ['x-key'],
    timeoutMs: 8_000,
    maxInFlight: 3,
    rateLimitPerSecond: 20,
    isActive: true,
    createdAt: '',
    updatedAt: '',
    secrets: [],
    circuit: { state: 'CLOSED' as const },
  };
  const { settings, problems } = readForm(valuesOf(subscription));
  expect(problems).toEqual([]);
  expect(settings).toEqual({
    url: subscription.url,
    description: 'Orders',
    eventTypes: subscription.eventTypes,
    filter: subscription.filter,
    headers: [{ name: 'x-key' }],
    timeoutMs: 8_000,
    maxInFlight: 3,
    rateLimitPerSecond: 20,
  });
});
