import { expect, it } from 'vitest';
import { RedeliveryGuard } from '../../src/delivery/sending/redelivery.ts';
import type { JetStreamMessage } from '../../src/nats/connection.ts';

type Case = {
  readonly seq?: number;
  readonly redelivered?: boolean;
  readonly ageMs?: number;
};

/** Whether a message is believed, when the last one that was stored before we came has the number 10. */
function isBelieved({ seq = 11, redelivered = false, ageMs = 0 }: Case): boolean {
  const deliveries = new RedeliveryGuard(Date.now);
  deliveries.trustFrom(10);
  // `as`: what the rule looks at.
  const message = { seq, redelivered } as JetStreamMessage;
  return deliveries.isCertainlyFirst(message, { publishedAt: Date.now() - ageMs });
}

it.each<[string, Case]>([
  ['published just now', {}],
  ['that has waited for a while', { ageMs: 9_000 }],
])('a message %s is believed to be first', (_name, message) => {
  expect(isBelieved(message)).toBe(true);
});

it.each<[string, Case]>([
  ['stored before we were connected', { seq: 10 }],
  ['that says it is not', { redelivered: true }],
  ['that was published long ago', { ageMs: 10_100 }],
])('a message %s is not', (_name, message) => {
  expect(isBelieved(message)).toBe(false);
});

it('as long as it is not known what was stored before, nothing is believed', () => {
  const deliveries = new RedeliveryGuard(Date.now);
  const now = Date.now();
  const message = { seq: 1_000_000, redelivered: false } as JetStreamMessage;
  expect([deliveries.distrustsAll, deliveries.isCertainlyFirst(message, { publishedAt: now })]).toEqual([true, false]);
});
