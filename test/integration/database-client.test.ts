import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createDatabase } from '../../src/database/client.ts';
import { transaction } from '../../src/database/transaction.ts';
import { createTestDatabase } from '../support/database.ts';

it('Postgres ends the transaction of a process that stands still', async () => {
  const testDatabase = await createTestDatabase();
  const database = createDatabase({ url: testDatabase.url, onError: () => undefined });
  const standStill = async () => {
    await transaction(database.pool, async (db) => {
      await db.query(`INSERT INTO tenants (name) VALUES ('acme')`);
      await delay(6_000);
      await db.query('SELECT 1');
    });
  };
  await expect(standStill()).rejects.toThrow();
  const { rows } = await database.pool.query('SELECT name FROM tenants');
  expect(rows).toEqual([]);
  await database.close();
  await testDatabase.drop();
});
