import { describe, expect, test } from 'vitest';
import { LogPosition } from '../../src/delivery-log/log-position.ts';
import { createIdSequence, uuid7Floor } from '../../src/lib/uuid7.ts';

const NOW = 1_800_000_000_000;
/** All attempts before this id have been committed. */
const LATER_ID = uuid7Floor(NOW + 60_000);

describe('a position in the log', () => {
  test('from the id of an attempt contains all attempts up to it, of every process', () => {
    const [one, other] = [createIdSequence(), createIdSequence()];
    const [before, at, after] = [other(NOW - 1), one(NOW), other(NOW + 1)];
    const position = LogPosition.parse(at);
    expect([before, at, after].map((id) => position?.has(id))).toEqual([true, true, false]);
  });

  test('contains, for each process, all attempts up to the last seen one', () => {
    const [one, other] = [createIdSequence(), createIdSequence()];
    const position = new LogPosition(uuid7Floor(NOW - 10));
    const [first, late, second] = [one(NOW), other(NOW + 1), one(NOW + 2)];
    position.add(second, LATER_ID);
    expect([first, late, second].map((id) => position.has(id))).toEqual([true, false, true]);
    position.add(late, LATER_ID);
    expect(position.has(late)).toBe(true);
    expect(position.has(other(NOW + 2))).toBe(false);
  });

  test('does not change when it is serialized and parsed', () => {
    const processes = [createIdSequence(), createIdSequence(), createIdSequence()];
    const position = new LogPosition(uuid7Floor(NOW - 10));
    const seen = processes.map((next, index) => next(NOW + index));
    for (const id of seen) position.add(id, LATER_ID);
    const read = LogPosition.parse(position.toString());
    expect(read?.toString()).toBe(position.toString());
    expect(seen.map((id) => read?.has(id))).toEqual([true, true, true]);
    expect(processes.map((next) => read?.has(next(NOW + 5)))).toEqual([false, false, false]);
  });

  test('treats attempts 15 s older than the last attempt as seen', () => {
    const position = new LogPosition(uuid7Floor(NOW));
    const [one, other] = [createIdSequence(), createIdSequence()];
    position.add(one(NOW + 20_000), LATER_ID);
    expect(position.has(other(NOW + 4_999))).toBe(true);
    expect(position.has(other(NOW + 5_001))).toBe(false);
  });

  test('does not treat attempts as seen that may still be committed', () => {
    const position = new LogPosition(uuid7Floor(NOW));
    const [one, other] = [createIdSequence(), createIdSequence()];
    position.add(one(NOW + 20_000), uuid7Floor(NOW + 1_000));
    expect(position.has(other(NOW + 999))).toBe(true);
    expect(position.has(other(NOW + 1_001))).toBe(false);
    const read = LogPosition.parse(position.toString());
    expect(read?.has(other(NOW + 1_001))).toBe(false);
  });

  test('knows which old attempts it has seen, but not which a process committed late between them', () => {
    const position = new LogPosition(uuid7Floor(NOW));
    const next = createIdSequence();
    const [early, late, last] = [next(NOW + 1_000), next(NOW + 2_000), next(NOW + 40_000)];
    position.add(early, LATER_ID);
    position.settle(uuid7Floor(NOW + 20_000));
    expect([early, late].map((id) => [position.has(id), position.hasSeen(id)])).toEqual([
      [true, true],
      [true, false],
    ]);
    position.add(last, LATER_ID);
    expect([late, last].map((id) => position.hasSeen(id))).toEqual([false, true]);
    expect(position.toString().split('~')).toHaveLength(2);
  });

  test('stays small with any number of processes', () => {
    const position = new LogPosition(uuid7Floor(NOW));
    for (let index = 0; index < 200; index += 1) position.add(createIdSequence()(NOW + 1 + index), LATER_ID);
    const text = position.toString();
    expect(text.split('~').length).toBeLessThanOrEqual(34);
    expect(LogPosition.parse(text)?.toString()).toBe(text);
  });

  test.each(['', 'x', `${uuid7Floor(NOW)}~`, `${uuid7Floor(NOW)}~x`, Array(40).fill(uuid7Floor(NOW)).join('~')])(
    'is not parsed from %j',
    (text) => {
      expect(LogPosition.parse(text)).toBeUndefined();
    },
  );
});
