import { expect, test } from 'vitest';
import type { SubscriptionRowFragment } from '../generated/graphql.ts';
import { readState, STATES, subscriptionMatches } from './subscription-filter.ts';

const ROW: SubscriptionRowFragment = {
  id: 's',
  url: 'https://Example.com/hooks',
  tenant: 'acme',
  description: 'Order service',
  eventTypes: ['*'],
  createdAt: '',
  updatedAt: '',
  isActive: true,
  circuit: { state: 'CLOSED' },
};

test('a changed subscription belongs to the lists that the server would put it into', () => {
  const statesOf = (change: Partial<SubscriptionRowFragment>) =>
    Object.entries(STATES).flatMap(([name, filter]) =>
      subscriptionMatches({ ...ROW, ...change }, filter) ? [name] : [],
    );
  expect(statesOf({})).toEqual(['active']);
  expect(statesOf({ failingSince: '2026-01-01' })).toEqual(['active', 'failing']);
  expect(statesOf({ pausedUntil: '2026-01-01' })).toEqual(['active', 'paused']);
  expect(statesOf({ isActive: false, pausedUntil: '2026-01-01' })).toEqual(['inactive']);
  expect(subscriptionMatches(ROW, { search: 'example' })).toBe(true);
  expect(subscriptionMatches(ROW, { search: 'ORDER' })).toBe(true);
  expect(subscriptionMatches(ROW, { search: 'crm' })).toBe(false);
});

test('a changed subscription belongs to the list of an event type if it selects the type by name, prefix or all', () => {
  const matches = (eventTypes: string[], eventType: string) =>
    subscriptionMatches({ ...ROW, eventTypes }, { eventType });
  const lists = [['order.paid'], ['other', 'order.*'], ['*'], ['order'], ['ord.*'], ['order.paid.*']];
  expect(lists.map((eventTypes) => matches(eventTypes, 'order.paid'))).toEqual([true, true, true, false, false, false]);
  expect(matches(['*'], 'webhook_subscription.failing')).toBe(false);
  expect(matches(['webhook_subscription.*'], 'webhook_subscription.failing')).toBe(true);
});

test('an unknown state in the address is none', () => {
  expect([readState('paused'), readState('toString'), readState(null)]).toEqual(['paused', '', '']);
});
