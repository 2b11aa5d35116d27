import { expect, it } from 'vitest';
import { RedeliveryGuard } from '../../src/delivery/sending/redelivery.ts';
import type { JetStreamMessage } from '../../src/nats/connection.ts';

type Case = {
  readonly seq?: number;
  readonly redelivered?: boolean;
  readonly ageMs?: number;
};

/** Whether a message is certainly a first delivery, if the last one stored before the connection has sequence number 10. */
function isBelieved({ seq = 11, redelivered = false, ageMs = 0 }: Case): boolean {
  const deliveries = new RedeliveryGuard(Date.now);
  deliveries.trustFrom(10);
  // `as`: the guard reads only these fields.
  const message = { seq, redelivered } as JetStreamMessage;
  return deliveries.isFirstDelivery(message, { publishedAt: Date.now() - ageMs });
}

it.each<[string, Case]>([
  ['published just now', {}],
  ['that was published 9 s ago', { ageMs: 9_000 }],
])('a message %s is certainly a first delivery', (_name, message) => {
  expect(isBelieved(message)).toBe(true);
});

it.each<[string, Case]>([
  ['stored before the connection', { seq: 10 }],
  ['marked as redelivered', { redelivered: true }],
  ['that was published over 10 s ago', { ageMs: 10_100 }],
])('a message %s is not certainly a first delivery', (_name, message) => {
  expect(isBelieved(message)).toBe(false);
});

it('no message is certainly a first delivery until the last earlier message is known', () => {
  const deliveries = new RedeliveryGuard(Date.now);
  const now = Date.now();
  const message = { seq: 1_000_000, redelivered: false } as JetStreamMessage;
  expect([deliveries.distrustsAll, deliveries.isFirstDelivery(message, { publishedAt: now })]).toEqual([true, false]);
});
