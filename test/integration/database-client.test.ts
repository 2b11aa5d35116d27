import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import { NotFoundError } from '../../src/lib/errors.ts';
import { createDatabase, transaction } from '../../src/postgres/client.ts';
import { isUnavailable } from '../../src/postgres/errors.ts';
import { createTestDatabase, openTestDatabase } from '../support/database.ts';
import { waitFor } from '../support/wait-for.ts';

it('Postgres ends the transaction of a process that stalls', async () => {
  const { database, close } = await openTestDatabase({ idleInTransactionMs: 100 });
  const stalled = transaction(database.pool, async (db) => {
    await db.query(`INSERT INTO tenants (name) VALUES ('acme')`);
    const { rows } = await db.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const session = 'SELECT FROM pg_stat_activity WHERE pid = $1';
    const hasEnded = async () => (await database.pool.query(session, [rows[0]?.pid])).rowCount === 0;
    await waitFor(hasEnded, { what: 'the end of the session' });
    await db.query('SELECT 1');
  });
  await expect(stalled).rejects.toThrow(/connection/);
  const { rows } = await database.pool.query('SELECT name FROM tenants');
  expect(rows).toEqual([]);
  await close();
});

it('a transaction whose work is refused is rolled back, and its connection is used again', async () => {
  const { database, close } = await openTestDatabase();
  const pids = new Set<unknown>();
  for (let count = 0; count < 3; count += 1) {
    const refused = transaction(database.pool, async (db) => {
      await db.query(`INSERT INTO tenants (name) VALUES ('acme')`);
      const { rows } = await db.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      pids.add(rows[0]?.pid);
      throw new NotFoundError('delivery');
    });
    await expect(refused).rejects.toThrow(NotFoundError);
  }
  expect(pids.size).toBe(1);
  expect((await database.pool.query('SELECT FROM tenants')).rowCount).toBe(0);
  await close();
});

it.each([
  ['Postgres', false],
  ['a pooler', true],
])(
  'after the connections to %s are closed, every query fails with an error that names the stop of the process',
  async (_server, behindPooler) => {
    const testDatabase = await createTestDatabase();
    const database = createDatabase({ behindPooler, url: testDatabase.url, onError: () => undefined });
    const { pool, readPool, prisma } = database;
    const ways = {
      statement: () => pool.query('SELECT 1'),
      read: () => readPool.query('SELECT 1'),
      transaction: () => transaction(pool, (db) => db.query('SELECT 1')),
      prisma: () => prisma.tenant.count(),
      prismaTransaction: () => prisma.$transaction((db) => db.tenant.count()),
    };
    for (const ask of Object.values(ways)) await ask();
    await database.close();
    for (const [way, ask] of Object.entries(ways)) {
      const error: unknown = await ask().then(
        () => undefined,
        (cause: unknown) => cause,
      );
      expect({ way, isUnavailable: isUnavailable(error), text: inspect(error) }).toMatchObject({
        way,
        isUnavailable: true,
        text: expect.stringContaining('this process is stopping and has closed its connections to Postgres') as string,
      });
    }
    await testDatabase.drop();
  },
);
