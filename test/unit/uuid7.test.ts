import { expect, test } from 'vitest';
import { uuid7 } from '../../src/database/uuid7.ts';

test('ids sort by time, which the cursor relies on', () => {
  expect(uuid7(1_000) < uuid7(1_001)).toBe(true);
});
