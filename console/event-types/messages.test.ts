import { expect, test } from 'vitest';
import { trialWords } from './messages.ts';

test('rejected events among one stored event, and among several', () => {
  expect(trialWords.rejected(1, 1, true)).toBe('The only stored event would have been rejected.');
  expect(trialWords.rejected(1, 2, true)).toBe('1 of the 2 stored events would have been rejected.');
  expect(trialWords.rejected(2, 1_000, false)).toBe('2 of the newest 1,000 events would have been rejected.');
});
