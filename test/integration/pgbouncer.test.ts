import { beforeAll, describe, expect, it } from 'vitest';
import { StartError } from '../../src/lib/start-error.ts';
import { withCheckedServer } from '../../src/postgres/check-server.ts';
import { createDatabase, transaction } from '../../src/postgres/client.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { expectCoreWorks } from '../support/core-flow.ts';
import { createTestDatabase } from '../support/database.ts';
import { findPgBouncer, type PgBouncer, startPgBouncer } from '../support/pgbouncer.ts';
import { startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp } from '../support/test-app.ts';

type PoolMode = Parameters<typeof startPgBouncer>[1]['poolMode'];

const cleanUps = createCleanUps();

const binary = await findPgBouncer();

describe.skipIf(binary === undefined)('behind PgBouncer', () => {
  let databaseUrl: string;
  beforeAll(async () => {
    const database = await createTestDatabase();
    databaseUrl = database.url;
    return () => database.drop();
  });

  async function start(poolMode: PoolMode, url = databaseUrl): Promise<PgBouncer> {
    const pgBouncer = await startPgBouncer(binary ?? '', { databaseUrl: url, poolMode });
    cleanUps.push(() => pgBouncer.stop());
    return pgBouncer;
  }

  it('two programs work in transaction mode with any settings of Postgres', async () => {
    const services = await startTestServices();
    cleanUps.push(() => services.stop());
    const { url } = await start('transaction', services.databaseUrl);
    const env = { DATABASE_DIRECT_URL: services.databaseUrl };
    const startApp = async (): Promise<TestApp> => {
      const app = await startTestApp({ databaseUrl: url, nats: services.nats }, { env });
      cleanUps.push(() => app.stop());
      return app;
    };
    const apps = [await startApp(), await startApp()] as const;
    const receiver = await startReceiver((_request, index) => ({ status: index === 0 ? 503 : 200 }));
    cleanUps.push(() => receiver.close());
    await expectCoreWorks({ apps, publish: services.publish, receiver });
    // The engine leaves no settings in sessions that PgBouncer gives to other clients.
    expect(
      await services.query(`SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database
        WHERE datname = current_database() AND locktype = 'advisory'`),
    ).toEqual([]);
  });

  it('a single statement and a transaction each get the settings only for themselves', async () => {
    const { url } = await start('transaction');
    const options = { url: `${url}?schema=webhooks`, onError: () => undefined };
    const database = createDatabase({ ...options, behindPooler: true, poolSize: 4 });
    cleanUps.push(() => database.close());
    const settings = `SELECT current_setting('TimeZone') AS zone, current_setting('search_path') AS path,
      current_setting('statement_timeout') AS "limit"`;
    const ours = { zone: 'UTC', path: '"webhooks"', limit: '10s' };
    const many = Array.from({ length: 20 }, () => database.pool.query(`${settings} WHERE $1`, [true]));
    for (const { rows } of await Promise.all(many)) expect(rows).toEqual([ours]);
    expect((await transaction(database.pool, (db) => db.query(settings))).rows).toEqual([ours]);
    const viaPrisma = await database.prisma.$transaction((db) => db.$queryRawUnsafe(settings));
    expect(viaPrisma).toEqual([{ ...ours, limit: '30s' }]);
    await expect(database.pool.query('SELECT 1 / 0')).rejects.toMatchObject({ code: '22012' });
    const other = createDatabase({ url, onError: () => undefined, behindPooler: true });
    cleanUps.push(() => other.close());
    const client = await other.pool.connect();
    const { rows } = await client.query('SHOW TimeZone');
    client.release(true);
    expect(rows).toEqual([{ TimeZone: 'America/St_Johns' }]);
  });

  const problemOf = (urls: Parameters<typeof withCheckedServer>[0]) =>
    withCheckedServer(urls, () => Promise.resolve()).then(
      () => undefined,
      (error: unknown) => {
        if (error instanceof StartError) return error.message;
        throw error;
      },
    );

  it('transaction mode is detected at the start, and nothing is left in the sessions', async () => {
    const { url } = await start('transaction');
    expect(await problemOf({ url, directUrl: url })).toBe(
      'DATABASE_URL leads to a pooler that gives each transaction another session (PgBouncer with pool_mode=transaction): set DATABASE_DIRECT_URL to the address of Postgres itself, which migrations, locks and notifications need',
    );
    expect(await problemOf({ url, directUrl: `${url}?schema=public` })).toContain('DATABASE_DIRECT_URL leads');
    expect(await problemOf({ url, directUrl: databaseUrl })).toBeUndefined();
  });

  it('statement mode is detected at the start', async () => {
    const { url } = await start('statement');
    expect(await problemOf({ url, directUrl: url })).toContain('DATABASE_URL leads to a pooler');
    expect(await problemOf({ url, directUrl: databaseUrl })).toBe(
      'DATABASE_URL leads to a pooler without transactions: use pool_mode=transaction',
    );
  });

  it('session mode needs no DATABASE_DIRECT_URL', async () => {
    const { url } = await start('session');
    expect(await problemOf({ url, directUrl: url })).toBeUndefined();
  });

  it('a DATABASE_DIRECT_URL of another database is detected at the start', async () => {
    const other = await createTestDatabase();
    cleanUps.push(() => other.drop());
    const { url } = await start('transaction');
    expect(await problemOf({ url, directUrl: other.url })).toBe(
      'DATABASE_URL and DATABASE_DIRECT_URL lead to different databases: both must lead to the same',
    );
  });
});
