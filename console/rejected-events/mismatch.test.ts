import { expect, test } from 'vitest';
import { mismatchOf } from './mismatch.ts';

test('the event type and the violated path of an event that does not match its schema', () => {
  const reason = 'SCHEMA_MISMATCH';
  const message = 'data.items.0.price must be number (and 2 more)';
  const found = { type: 'order.paid', path: 'data.items.0.price' };
  expect(mismatchOf({ reason, subject: 'events.acme.order.paid', message })).toEqual(found);
  expect(mismatchOf({ reason, subject: 'staging.events.events.order.paid', message })).toEqual(found);
  expect(mismatchOf({ reason, subject: 'events.acme.order.paid', message: 'data must be object' })).toEqual({
    type: 'order.paid',
    path: 'data',
  });
});

test('an event that was rejected for another reason has none', () => {
  const message = 'the data is not JSON';
  expect(mismatchOf({ reason: 'INVALID_JSON', subject: 'events.acme.order.paid', message })).toBeUndefined();
});
