import { expect, test } from 'vitest';
import { uuid7 } from '../../src/database/uuid7.ts';
import { LateIds } from '../../src/schema/late-ids.ts';

const longAgo = () => uuid7(Date.now() - 60_000);

test('ids of long ago are kept until what was committed by then has been announced', () => {
  const lateIds = new LateIds();
  const id = longAgo();
  lateIds.add(id);
  lateIds.settle(Date.now() - 1_000);
  expect(lateIds.has(id)).toBe(true);
  lateIds.settle(Date.now() + 1_000);
  expect(lateIds.has(id)).toBe(false);
});

test('of a long log the last 500 are kept, and none that is announced in time', () => {
  const lateIds = new LateIds();
  const ids = Array.from({ length: 501 }, longAgo);
  const timely = uuid7(Date.now());
  for (const id of [...ids, timely]) lateIds.add(id);
  expect([ids[0], ids[1], ids[500], timely].map((id) => lateIds.has(id ?? ''))).toEqual([false, true, true, false]);
});
