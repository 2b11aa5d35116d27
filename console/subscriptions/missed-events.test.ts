import type { Client } from 'urql';
import { expect, test } from 'vitest';
import { PastEventsDocument, type SubscriptionSettingsFragment } from '../generated/graphql.ts';
import { findMissedEvents } from './missed-events.ts';

type Answer = Record<string, unknown>;

const at = (number: number) => new Date(Date.UTC(2026, 0, 31) + number * 60_000).toISOString();

/** The event with the number `number` is so many minutes younger than the first. Even ones match. */
function serverWith({
  events,
  deliveries,
  page = 250,
}: {
  events: number;
  deliveries: readonly number[];
  page?: number;
}) {
  const queries: Answer[] = [];
  const eventOf = (number: number) => ({ id: String(number), tenant: 'acme', createdAt: at(number) });
  const answer = (variables: Answer, isPast: boolean) => {
    if (isPast) {
      const newest = Math.min(events, Number(variables['olderThan'] ?? events + 1) - 1);
      const numbers = Array.from({ length: Math.min(200, newest) }, (_, index) => newest - index);
      return { testFilterOnEvents: numbers.map((n) => ({ matches: n % 2 === 0, event: eventOf(n) })) };
    }
    const sought = new Set(variables['eventIds'] as string[]);
    const found = deliveries.filter((number) => sought.has(String(number)));
    const nodes = found.slice(0, page).map((number) => ({ id: '', event: eventOf(number) }));
    return { deliveries: { nodes, pageInfo: { hasNextPage: found.length > page } } };
  };
  // `as`: the function uses this one only.
  const client = {
    query: (document: unknown, variables: Answer) => {
      queries.push(variables);
      return { toPromise: () => Promise.resolve({ data: answer(variables, document === PastEventsDocument) }) };
    },
  } as unknown as Client;
  return { client, queries };
}

const subscriptionSince = (number: number) =>
  ({ id: 'a', tenant: 'acme', eventTypes: ['*'], createdAt: at(number) }) as unknown as SubscriptionSettingsFragment;

test('missed events match, have no delivery, and are not older than the subscription', async () => {
  const { client, queries } = serverWith({ events: 9, deliveries: [8] });
  const found = await findMissedEvents(client, subscriptionSince(3));
  expect(found).toEqual({ ids: ['6', '4'], examined: 7, oldest: undefined });
  expect(queries[1]).toMatchObject({ eventIds: ['8', '6', '4'] });
});

test('older events are examined from the oldest one on, until the subscription is reached', async () => {
  const { client } = serverWith({ events: 450, deliveries: [] });
  const since = subscriptionSince(20);
  expect(await findMissedEvents(client, since)).toMatchObject({ examined: 200, oldest: { id: '251' } });
  expect(await findMissedEvents(client, since, '251')).toMatchObject({ examined: 200, oldest: { id: '51' } });
  expect(await findMissedEvents(client, since, '51')).toMatchObject({ examined: 31, oldest: undefined });
});

test('deliveries beyond a page that is full of replays of one event count as well', async () => {
  const { client, queries } = serverWith({ events: 8, deliveries: [8, 8, 8, 8, 6, 2], page: 3 });
  expect(await findMissedEvents(client, subscriptionSince(0))).toMatchObject({ ids: ['4'] });
  expect(queries.slice(1).map(({ eventIds }) => eventIds)).toEqual([
    ['8', '6', '4', '2'],
    ['6', '4', '2'],
  ]);
});

test('without a matching event, no deliveries are read', async () => {
  const { client, queries } = serverWith({ events: 1, deliveries: [] });
  expect(await findMissedEvents(client, subscriptionSince(0))).toEqual({ ids: [], examined: 1, oldest: undefined });
  expect(queries).toHaveLength(1);
});
