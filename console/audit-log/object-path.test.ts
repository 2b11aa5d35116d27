import { expect, test } from 'vitest';
import { objectPath } from './object-path.ts';

const ID = '01890000-0000-7000-8000-000000000001';

test.each([
  ['WebhookSubscription', ID, `/subscriptions/${ID}`],
  ['Delivery', ID, `/deliveries/${ID}`],
  ['Event', 'order/1', '/event?tenant=acme&id=order%2F1'],
  ['EventType', 'order.paid', '/event-types?type=order.paid'],
  ['Replay', ID, `/replays/${ID}`],
  ['DeliveryJob', ID, `/jobs/${ID}`],
  ['ApiKey', ID, `/keys?key=${ID}`],
  ['Session', ID, undefined],
  ['Tenant', 'acme', undefined],
])('the page of the object type %s', (objectType, objectId, path) => {
  expect(objectPath({ objectType, objectId, tenant: 'acme' }, true)).toBe(path);
});

test('without an id, and for others than administrators an API key, have no page', () => {
  expect(objectPath({ objectType: 'Replay', objectId: null, tenant: 'acme' }, true)).toBeUndefined();
  expect(objectPath({ objectType: 'ApiKey', objectId: ID, tenant: 'acme' }, false)).toBeUndefined();
});
