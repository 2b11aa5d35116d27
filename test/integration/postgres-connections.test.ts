import { PrismaPg } from '@prisma/adapter-pg';
import type pg from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PrismaClient } from '../../src/generated/prisma/client.ts';
import { createDatabase, type Database, transaction } from '../../src/postgres/client.ts';
import { Clock } from '../../src/postgres/clock.ts';
import { openConnection, withConnection } from '../../src/postgres/connection.ts';
import { isReadOnly, isUnavailable } from '../../src/postgres/errors.ts';
import { NotificationListener } from '../../src/postgres/listener.ts';
import { PoolGroup, type PoolOptions } from '../../src/postgres/pool.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { openEvents, postOperation } from '../support/graphql-client.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { startTestApp, startTestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();
const atEnd = createCleanUps(afterAll);

let testDatabase: TestDatabase;
let admin: pg.Client;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const connection = await openConnection({ connectionString: testDatabase.url });
  admin = connection.client;
  atEnd.push(() => testDatabase.drop(), connection.close);
});

/** Returns the port of the server, and a function for the URL of the database through another port. */
function proxied(url: string): { port: number; via: (port: number) => string } {
  const direct = new URL(url);
  return {
    port: Number(direct.port),
    via: (port) => {
      const other = new URL(url);
      other.port = String(port);
      return other.href;
    },
  };
}

/** Simulates a failover: sessions opened while `work` runs stay read-only, later ones do not. */
async function whileReadOnly(client: pg.Client, work: () => Promise<void>): Promise<void> {
  const setReadOnly = (clause: string) =>
    client.query(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I ${clause}', current_database()); END $$`);
  await setReadOnly('SET default_transaction_read_only = on');
  await work();
  await client.query('SET default_transaction_read_only = off');
  await setReadOnly('RESET default_transaction_read_only');
}

/** Makes both pools open their maximum number of connections. */
async function fill({ pool, readPool }: Database): Promise<void> {
  for (const each of [pool, readPool]) {
    const clients = await Promise.all(Array.from({ length: each.options.max }, () => each.connect()));
    for (const client of clients) client.release();
  }
}

const WRITE = `INSERT INTO tenants (name) VALUES ('acme') ON CONFLICT DO NOTHING`;

const PATHS: Readonly<Record<string, (database: Database) => Promise<unknown>>> = {
  'a statement': ({ pool }) => pool.query(WRITE),
  'a transaction': ({ pool }) => transaction(pool, (db) => db.query(WRITE)),
  "a statement of Prisma's": ({ prisma }) => prisma.$executeRawUnsafe(WRITE),
  "a transaction of Prisma's": ({ prisma }) => prisma.$transaction((db) => db.$executeRawUnsafe(WRITE)),
};

describe('a connection is not used again', () => {
  it.each(Object.entries(PATHS))(
    'to a read-only server, nor any other that was open at the time: %s',
    async (_, write) => {
      const { url } = testDatabase;
      const database = createDatabase({ url, onError: () => undefined });
      cleanUps.push(() => database.close());
      await whileReadOnly(admin, () => fill(database));
      const error: unknown = await write(database).catch((cause: unknown) => cause);
      expect(isReadOnly(error)).toBe(true);
      expect(isUnavailable(error)).toBe(true);
      for (const next of Object.values(PATHS)) {
        const writes = Array.from({ length: 5 }, () => next(database));
        await Promise.all(writes);
      }
    },
  );

  it.each(Object.entries(PATHS))('that died silently: %s', async (_, write) => {
    const { url } = testDatabase;
    const { port, via } = proxied(url);
    const proxy = await startTcpProxy({ port });
    const options = { connectionString: via(proxy.port), max: 1, query_timeout: 500 };
    const pools = new PoolGroup();
    const [pool, readPool] = [pools.create(options), pools.create(options)];
    const prisma = new PrismaClient({ adapter: new PrismaPg(readPool) });
    const database = {
      pool,
      readPool,
      prisma,
      clock: new Clock(),
      renewConnections: () => undefined,
      close: () => Promise.resolve(),
    };
    for (const each of [pool, readPool]) each.on('error', () => undefined);
    cleanUps.push(
      () => proxy.stop(),
      () => Promise.all([pool.end(), readPool.end()]),
    );
    await fill(database);
    proxy.silence();
    const error: unknown = await write(database).catch((cause: unknown) => cause);
    expect(isUnavailable(error)).toBe(true);
    await write(database);
  });

  const poolOf = (options: PoolOptions) => {
    const { url } = testDatabase;
    const pool = new PoolGroup().create({ connectionString: url, max: 1, ...options });
    pool.on('error', () => undefined);
    cleanUps.push(() => pool.end());
    const pid = async () => (await pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid;
    return { pool, pid };
  };

  it('beyond its maximum age', async () => {
    const { pid: pidOfYoung } = poolOf({});
    expect(await pidOfYoung()).toBe(await pidOfYoung());
    const { pid: pidOfOld } = poolOf({ maxAgeMs: 0 });
    expect(await pidOfOld()).not.toBe(await pidOfOld());
  });

  it('after the server has ended its session, even in a transaction', async () => {
    const { pool, pid } = poolOf({ max: 2 });
    const first = await pid();
    await expect(
      transaction(pool, async (db) => {
        await db.query(`SET LOCAL idle_in_transaction_session_timeout = 50`);
        const isOver = async () =>
          (await pool.query('SELECT FROM pg_stat_activity WHERE pid = $1', [first])).rowCount === 0;
        await waitFor(isOver, { what: 'the end of the session' });
        await db.query('SELECT');
      }),
    ).rejects.toSatisfy(isUnavailable);
    expect(await pid()).not.toBe(first);
  });
});

it('closing a connection to a stalled server takes a second', async () => {
  const { url } = testDatabase;
  const { port, via } = proxied(url);
  const proxy = await startTcpProxy({ port });
  cleanUps.push(() => proxy.stop());
  const { client, close } = await openConnection({ connectionString: via(proxy.port) });
  let hasEnded = false;
  client.on('end', () => {
    hasEnded = true;
  });
  proxy.silence();
  const begun = performance.now();
  await close();
  expect(performance.now() - begun).toBeLessThan(20_000);
  await waitFor(() => hasEnded, { what: 'the socket to be closed' });
});

it('a connection that breaks while it is passed on fails the statement of its next user', async () => {
  const { port, via } = proxied(testDatabase.url);
  const ready = 'Z\0\0\0\x05I';
  const fields = 'SFATAL\0C57P01\0Mterminating connection\0\0';
  const fatal = `E\0\0\0${String.fromCharCode(fields.length + 4)}${fields}`;
  let isBreaking = false;
  // One chunk ends the answer of the first user and the connection: the pool passes the connection on in between.
  const toClient = (text: string) => (isBreaking && text.endsWith(ready) ? text + fatal : text);
  const proxy = await startTcpProxy({ port, toClient });
  const pool = new PoolGroup().create({ connectionString: via(proxy.port), max: 1 });
  cleanUps.push(
    () => proxy.stop(),
    () => pool.end(),
  );
  await pool.query('SELECT 1');
  isBreaking = true;
  const [first, second] = await Promise.allSettled([
    pool.query('SELECT 1'),
    transaction(pool, (client) => client.query('SELECT 2')),
  ]);
  expect(first.status).toBe('fulfilled');
  expect(second.status === 'rejected' && isUnavailable(second.reason)).toBe(true);
});

it('a connection outside the pools fails with errors that say that Postgres is unavailable', async () => {
  const { port, via } = proxied(testDatabase.url);
  const proxy = await startTcpProxy({ port });
  const broken = withConnection(via(proxy.port), async (client) => {
    const answer = client.query('SELECT pg_sleep(60)');
    await proxy.stop();
    await answer;
  });
  await expect(broken).rejects.toSatisfy(isUnavailable);
  await expect(withConnection(via(proxy.port), () => Promise.resolve())).rejects.toSatisfy(isUnavailable);
});

it('a LISTEN connection that dies silently is a gap, and is opened again', async () => {
  const { url } = testDatabase;
  const { port, via } = proxied(url);
  const proxy = await startTcpProxy({ port });
  let gaps = 0;
  const notices: string[] = [];
  const listener = new NotificationListener({
    url: via(proxy.port),
    log: pino({ level: 'silent' }),
    limits: { pingEveryMs: 100, answerWithinMs: 200 },
  });
  listener.subscribe({
    onNotification: { delivery_cancelled: (id) => void notices.push(id) },
    onGap: () => {
      gaps += 1;
    },
  });
  listener.start();
  cleanUps.push(
    () => proxy.stop(),
    () => listener.stop(),
  );
  const isNotified = async (id: string) => {
    await admin.query(`SELECT pg_notify('delivery_cancelled', $1)`, [id]);
    return notices.includes(id);
  };
  await waitFor(() => isNotified('before'), { what: 'the notice before' });
  expect(gaps).toBe(1);
  proxy.silence();
  // One gap when the loss is detected, and one when it listens again.
  await waitFor(() => gaps === 3, { what: 'the gap' });
  await waitFor(() => isNotified('after'), { what: 'the notice after' });
});

describe('over GraphQL', () => {
  const REVOKE = `mutation { revokeApiKey(id: "00000000-0000-7000-8000-000000000000") { __typename } }`;
  const CREATE = `mutation { createWebhookSubscription(input: { tenant: "acme", url: "https://example.com/", eventTypes: ["*"] }) { __typename } }`;
  const QUERY = '{ webhookSubscriptions { edges { node { id } } } }';
  const WATCH = `subscription { deliveryLog(after: "${btoa('GPC:S:00000000-0000-7000-8000-000000000000')}") { number } }`;

  it('while Postgres is read-only, writes fail with SERVICE_UNAVAILABLE and the process is not ready', async () => {
    const services = await startTestServices();
    cleanUps.push(() => services.stop());
    const app = await startTestApp(services);
    cleanUps.push(() => app.stop());
    const other = await openConnection({ connectionString: services.databaseUrl });
    cleanUps.push(other.close);
    const ready = async () => {
      const response = await fetch(`${app.url}/health/ready`);
      return { status: response.status, text: await response.text() };
    };
    const operate = async (query: string) => {
      const { errors } = await postOperation(app.url, { credentials: app.adminApiKey, query });
      return errors?.[0]?.extensions?.['code'];
    };
    expect(await ready()).toMatchObject({ status: 200 });
    await whileReadOnly(other.client, async () => {
      await other.client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()`);
      await waitFor(async () => (await ready()).text.includes('read-only'), { what: 'not being ready' });
      expect((await ready()).status).toBe(503);
      expect(await operate(CREATE)).toBe('SERVICE_UNAVAILABLE');
      expect(await operate(QUERY)).toBeUndefined();
    });
    await waitFor(async () => (await ready()).status === 200, { what: 'being ready again' });
    expect(await operate(CREATE)).toBeUndefined();
  });

  it('without Postgres, queries, mutations and subscriptions fail with SERVICE_UNAVAILABLE', async () => {
    const services = await startTestServices();
    const { port, via } = proxied(services.databaseUrl);
    const proxy = await startTcpProxy({ port });
    const app = await startTestApp({ ...services, databaseUrl: via(proxy.port) });
    cleanUps.push(
      () => services.stop(),
      () => app.stop(),
    );
    await proxy.stop();
    for (const query of [QUERY, CREATE, REVOKE]) {
      const { text } = await postOperation(app.url, { credentials: app.adminApiKey, query });
      expect(text).toContain('SERVICE_UNAVAILABLE');
    }
    const stream = await openEvents(app.url, { credentials: app.adminApiKey, query: WATCH });
    cleanUps.push(() => {
      stream.close();
    });
    await waitFor(() => stream.text().includes('SERVICE_UNAVAILABLE'), { what: 'the error of the subscription' });
  });
});
