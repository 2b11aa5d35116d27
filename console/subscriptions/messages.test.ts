import { expect, test } from 'vitest';
import { missedEventsWords, usageInWords } from './messages.ts';

test.each([
  ['None yet', { attemptCount: 0, successCount: 0, isExact: true }],
  ['One, which succeeded', { attemptCount: 1, successCount: 1, isExact: true }],
  ['One, which failed', { attemptCount: 1, successCount: 0, isExact: true }],
  ['All of 12 succeeded', { attemptCount: 12, successCount: 12, isExact: true }],
  ['None of 12 succeeded', { attemptCount: 12, successCount: 0, isExact: true }],
  ['5 of 12 succeeded', { attemptCount: 12, successCount: 5, isExact: true }],
  ['412 of the last 1,000 succeeded', { attemptCount: 1_000, successCount: 412, isExact: false }],
  ['All of the last 1,000 succeeded', { attemptCount: 1_000, successCount: 1_000, isExact: false }],
])('the attempts that a secret signed: %s', (text, usage) => {
  expect(usageInWords(usage)).toBe(text);
});

test('missed events among one event, among several, and before a time', () => {
  const { none, missed } = missedEventsWords;
  const scopeOf = (events: number, before?: string) => ({ events, before });
  expect(none(scopeOf(1))).toMatch(/^The latest event was not missed: it /);
  expect(none(scopeOf(3))).toMatch(/^None of the latest 3 events was missed: each /);
  expect(missed(1, scopeOf(1))).toMatch(/^The latest event matches this subscription and has no delivery to it: /);
  expect(missed(1, scopeOf(1, '12:00'))).toMatch(/^The event before 12:00 matches /);
  expect(missed(1, scopeOf(3))).toMatch(/^One of the latest 3 events matches /);
  expect(missed(2, scopeOf(3, '12:00'))).toMatch(/^2 of the 3 events before 12:00 match /);
});
