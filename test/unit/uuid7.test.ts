import { describe, expect, it, test } from 'vitest';
import { createIdSequence, uuid7, uuid7Source, uuid7Time } from '../../src/lib/uuid7.ts';

test('ids sort by time, which the cursor relies on', () => {
  expect(uuid7(1_000) < uuid7(1_001)).toBe(true);
});

describe('the ids of a sequence', () => {
  it('grow and keep their source when the clock goes back a little', () => {
    const nextId = createIdSequence();
    const ids = [5_000, 5_000, 4_500, 5_001].map(nextId);
    expect(ids).toEqual(ids.toSorted());
    expect(new Set(ids.map(uuid7Source)).size).toBe(1);
  });

  it('have the right time again, and a new source, after a clock that was ahead is corrected', () => {
    const nextId = createIdSequence();
    const ahead = nextId(3_600_000);
    const [first, second] = [nextId(1_000), nextId(1_000)];
    expect([first, second].map(uuid7Time)).toEqual([1_000, 1_000]);
    expect(first < second).toBe(true);
    expect(uuid7Source(first)).not.toBe(uuid7Source(ahead));
    expect(uuid7Source(second)).toBe(uuid7Source(first));
  });
});
