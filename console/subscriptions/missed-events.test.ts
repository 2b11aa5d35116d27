import { expect, test } from 'vitest';
import { missedEvents } from './missed-events.ts';

const at = (minute: number) => `2026-01-31T12:${String(minute).padStart(2, '0')}:00.000Z`;
const event = (id: string, minute: number, matches = true) => ({
  matches,
  event: { id, tenant: 'acme', createdAt: at(minute) },
});
const deliveriesOf = (minutes: readonly number[], hasNextPage = false) => ({
  nodes: minutes.map((minute) => {
    const id = String(minute);
    return { id, createdAt: at(minute), event: { id, tenant: 'acme' } };
  }),
  pageInfo: { hasNextPage },
});

test('missed events match, have no delivery, and are not older than the subscription', () => {
  const testFilterOnEvents = [event('9', 9), event('8', 8, false), event('7', 7), event('6', 6), event('1', 1)];
  const result = { testFilterOnEvents, deliveries: deliveriesOf([9]) };
  expect(missedEvents(result, { createdAt: at(2) })).toEqual({ ids: ['7', '6'], examined: 4 });
});

test('events that are older than the deliveries that were read are not taken for missed', () => {
  const testFilterOnEvents = [event('9', 9), event('8', 8), event('5', 5)];
  const result = { testFilterOnEvents, deliveries: deliveriesOf([9, 7], true) };
  expect(missedEvents(result, { createdAt: at(0) })).toEqual({ ids: ['8'], examined: 2 });
});
