import { expect, test } from 'vitest';
import { usageInWords } from './messages.ts';

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
