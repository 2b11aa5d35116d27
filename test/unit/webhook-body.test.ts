import { expect, it } from 'vitest';
import { decodeDeliveryMessage, encodeDeliveryMessage } from '../../src/delivery/queue/message.ts';
import { webhookBody } from '../../src/delivery/sending/attempt.ts';

const data = Buffer.from('{ "n": 1.0, "big": 12345678901234567890, "nul": "\\u0000", "line": "\\n" }');

it('a webhook body has the data byte for byte as it was published', () => {
  const event = { eventId: 'e"1', eventType: 'a.b', occurredAt: '2026-01-31T12:00:00.000Z', data };
  expect(webhookBody(event).toString()).toBe(
    `{"id":"e\\"1","type":"a.b","timestamp":"2026-01-31T12:00:00.000Z","data":${data.toString()}}`,
  );
});

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
  isTest: false,
  sendAt: undefined,
  publishedAt: 1_700_000_000_000,
  data,
};

it('a decoded delivery message equals the encoded one, with and without data', () => {
  const later = { ...message, enqueueCount: 2 ** 31 - 1, sendAt: 1_700_000_000_000.5, isProbe: true, isTest: true };
  for (const each of [message, { ...message, data: undefined }, later]) {
    expect(decodeDeliveryMessage(encodeDeliveryMessage(each))).toEqual(each);
  }
});

it.each([
  ['deliveryId', ['d', undefined, message.deliveryId.toUpperCase()]],
  ['tenant', ['', 'a b', 7, undefined]],
  ['subscriptionId', ['d', null, message.subscriptionId.toUpperCase()]],
  ['subscriptionVersion', ['3', -1, 0.5, 2 ** 53, undefined]],
  ['eventId', ['', 'a\r\nb: c', 'x'.repeat(257), undefined]],
  ['eventType', ['', 'a b', '*', undefined]],
  ['occurredAt', ['yesterday', 1_700_000_000_000, undefined]],
  ['enqueueCount', ['x', '1', 0, 1.5, 2 ** 31, undefined]],
  ['mayBeDuplicate', ['false', 0, undefined]],
  ['isProbe', ['false', 1, undefined]],
  ['isRequested', ['false', 1, null]],
  ['isTest', ['false', 1, undefined]],
  ['sendAt', ['soon', null]],
  ['publishedAt', ['now', null, undefined]],
])('a message with an invalid %s is not a delivery message', (name, values) => {
  for (const value of values) {
    const odd = encodeDeliveryMessage({ ...message, [name]: value });
    expect(() => decodeDeliveryMessage(odd), String(value)).toThrow('not a delivery message');
  }
});

it.each(['{}\n', '[]\n', 'null\n', 'hello', ''])('%j is not a delivery message', (text) => {
  expect(() => decodeDeliveryMessage(Buffer.from(text))).toThrow();
});

it('a message without the end of its first line is not a delivery message', () => {
  const line = encodeDeliveryMessage({ ...message, data: undefined });
  line[line.length - 1] = 0x20;
  expect(() => decodeDeliveryMessage(line)).toThrow('not a delivery message');
});
