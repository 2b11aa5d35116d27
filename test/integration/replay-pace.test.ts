import { afterAll, beforeAll, expect, it } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { type Database, transaction } from '../../src/postgres/client.ts';
import { advanceReplay, claimReplay } from '../../src/replays/job.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

let database: Database;
let opened: OpenTestDatabase;

beforeAll(async () => {
  opened = await openTestDatabase();
  ({ database } = opened);
});
afterAll(async () => {
  await opened.close();
});

const RATE = 20;

/** Advances a replay whose next batch is due in `dueInMs`; returns the milliseconds by which that batch was postponed. */
async function putOffBy(dueInMs: number, replayed: number): Promise<number> {
  const { prisma, pool } = database;
  const replay = { tenant: 'acme', filter: {}, ratePerSecond: RATE, deliveryCount: 100 };
  const { id } = await prisma.replay.create({ data: { ...replay, id: uuid7(Date.now()), status: 'RUNNING' } });
  const { rows } = await pool.query<{ ms: number }>(
    `UPDATE replays SET next_batch_at = now() + $2 * interval '1 ms' WHERE id = $1
     RETURNING (extract(epoch FROM next_batch_at) * 1000)::float8 AS ms`,
    [id, dueInMs],
  );
  await advanceReplay(pool, { id, afterId: id, replayed, skipped: 3, isLast: false });
  const { nextBatchAt, ...counts } = await prisma.replay.findUniqueOrThrow({ where: { id } });
  expect(counts).toMatchObject({ afterId: id, replayedCount: replayed, skippedCount: 3, status: 'RUNNING' });
  return nextBatchAt.getTime() - (rows[0]?.ms ?? 0);
}

it('a batch postpones the next one by the time of its deliveries at the rate, and a millisecond for each skipped one', async () => {
  expect(await putOffBy(60_000, 4)).toBe(203);
  expect(await putOffBy(60_000, 1)).toBe(53);
  expect(await putOffBy(60_000, 0)).toBe(3);
});

it('at most a quarter of a second of missed time is made up for', async () => {
  // The batch was due an hour ago; the next one is due now at the earliest, minus the time that is made up for.
  const putOff = await putOffBy(-3_600_000, 4);
  expect(putOff).toBeGreaterThanOrEqual(3_600_000 - 250 + 200);
  expect(putOff).toBeLessThan(3_600_000 + 10_000);
});

it('a replay in progress or not due is not claimed by another process', async () => {
  const { prisma, pool } = database;
  await prisma.replay.deleteMany();
  await putOffBy(60_000, 1);
  expect(await claimReplay(pool)).toBeUndefined();
  await prisma.replay.updateMany({ data: { nextBatchAt: new Date(Date.now() - 60_000) } });
  await transaction(pool, async (db) => {
    expect(await claimReplay(db)).toMatchObject({ tenant: 'acme', ratePerSecond: RATE });
    expect(await claimReplay(pool)).toBeUndefined();
  });
});
