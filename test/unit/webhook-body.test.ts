import { expect, it } from 'vitest';
import { webhookBody } from '../../src/delivery/webhook-body.ts';
import { decodeDeliveryMessage, encodeDeliveryMessage } from '../../src/events/delivery-message.ts';

const data = Buffer.from('{ "n": 1.0, "big": 12345678901234567890, "nul": "\\u0000", "line": "\\n" }');

it('a webhook body has the data byte for byte as it was published', () => {
  const event = { eventId: 'e"1', eventType: 'a.b', occurredAt: '2026-01-31T12:00:00.000Z', data };
  expect(webhookBody(event).toString()).toBe(
    `{"id":"e\\"1","type":"a.b","timestamp":"2026-01-31T12:00:00.000Z","data":${data.toString()}}`,
  );
});

it('a delivery message comes back as it was encoded, with its data or without', () => {
  const message = {
    deliveryId: '01890a5d-ac96-774b-bcce-b302099a8057',
    tenant: 't',
    subscriptionId: '01890a5d-ac96-774b-bcce-b302099a8058',
    subscriptionVersion: 3,
    eventId: 'e',
    eventType: 'a.b',
    occurredAt: '2026-01-31T12:00:00.000Z',
    enqueueCount: 1,
    mayBeDuplicate: false,
    isProbe: false,
    sendAt: undefined,
    publishedAt: 1_700_000_000_000,
    data,
  };
  expect(decodeDeliveryMessage(encodeDeliveryMessage(message))).toEqual(message);
  const bare = { ...message, data: undefined };
  expect(decodeDeliveryMessage(encodeDeliveryMessage(bare))).toEqual(bare);
  for (const id of ['d', message.subscriptionId.toUpperCase()]) {
    const odd = encodeDeliveryMessage({ ...message, subscriptionId: id });
    expect(() => decodeDeliveryMessage(odd)).toThrow();
  }
  expect(() => decodeDeliveryMessage(Buffer.from('{}\n'))).toThrow();
  expect(() => decodeDeliveryMessage(Buffer.from('hello'))).toThrow();
});
