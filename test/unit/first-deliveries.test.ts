import { expect, it } from 'vitest';
import { FirstDeliveries } from '../../src/events/first-deliveries.ts';
import type { StreamMessage } from '../../src/events/stream-message.ts';

type Case = {
  readonly seq?: number;
  readonly redelivered?: boolean;
  readonly ageMs?: number;
  readonly storedInMs?: number;
};

/** Whether a message is believed, when the last one that was stored before we came has the number 10. */
function isBelieved({ seq = 11, redelivered = false, ageMs = 0, storedInMs = 0 }: Case): boolean {
  const deliveries = new FirstDeliveries(Date.now);
  deliveries.believeAfter(10);
  const storedAt = Date.now() - ageMs;
  // `as`: what the rule looks at.
  const message = { seq, redelivered, info: { timestampNanos: storedAt * 1e6 } } as StreamMessage;
  return deliveries.isFirst(message, { publishedAt: storedAt - storedInMs });
}

it.each<[string, Case]>([
  ['stored just now', {}],
  ['that has waited for a while in our buffer', { ageMs: 29_000 }],
  ['that took a while to be stored', { storedInMs: 2_900 }],
])('a message %s is believed to be first', (_name, message) => {
  expect(isBelieved(message)).toBe(true);
});

it.each<[string, Case]>([
  ['stored before we were connected', { seq: 10 }],
  ['that says it is not', { redelivered: true }],
  ['that has waited for half of the ack wait', { ageMs: 30_100 }],
  ['that was stored when its publisher may have given up', { storedInMs: 3_100 }],
])('a message %s is not', (_name, message) => {
  expect(isBelieved(message)).toBe(false);
});

it('as long as it is not known what was stored before, nothing is believed', () => {
  const deliveries = new FirstDeliveries(Date.now);
  const now = Date.now();
  const message = { seq: 1_000_000, redelivered: false, info: { timestampNanos: now * 1e6 } } as StreamMessage;
  expect([deliveries.suspectsAll, deliveries.isFirst(message, { publishedAt: now })]).toEqual([true, false]);
});
