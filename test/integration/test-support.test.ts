import { once } from 'node:events';
import { connect } from 'node:net';
import { connect as connectToNats } from 'nats';
import pg from 'pg';
import { expect, inject, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { createTestDatabase } from '../support/database.ts';
import { startTestNats } from '../support/nats.ts';
import { startTestPostgres } from '../support/postgres.ts';
import { startReceiver } from '../support/receiver.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

async function query(url: string, sql: string, timeoutMs = 20_000): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: timeoutMs, query_timeout: timeoutMs });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<Record<string, unknown>>(sql);
    return rows;
  } finally {
    client.end().catch(() => undefined);
  }
}

it('each test database is migrated and separate', async () => {
  const [one, two] = await Promise.all([createTestDatabase(), createTestDatabase()]);
  cleanUps.push(
    () => one.drop(),
    () => two.drop(),
  );
  await query(one.url, "INSERT INTO tenants (name) VALUES ('acme')");
  expect(await query(one.url, 'SELECT name FROM tenants')).toEqual([{ name: 'acme' }]);
  expect(await query(two.url, 'SELECT name FROM tenants')).toEqual([]);
  await one.drop();
  await expect(query(one.url, 'SELECT 1')).rejects.toThrow('does not exist');
});

it('a test Postgres can be paused, resumed, killed and restarted', async () => {
  const postgres = await startTestPostgres(inject('postgresCluster'));
  cleanUps.push(() => postgres.stop());
  const client = new pg.Client({ connectionString: postgres.url, query_timeout: 300 });
  client.on('error', () => undefined);
  await client.connect();
  await postgres.pause();
  await expect(client.query('SELECT 1')).rejects.toThrow('Query read timeout');
  await postgres.resume();
  await query(postgres.url, "INSERT INTO tenants (name) VALUES ('acme')");
  await postgres.kill9();
  await expect(query(postgres.url, 'SELECT 1')).rejects.toThrow();
  await postgres.start();
  expect(await query(postgres.url, 'SELECT name FROM tenants')).toEqual([{ name: 'acme' }]);
  await client.end().catch(() => undefined);
});

it('a test nats-server can be paused, resumed, killed and restarted', async () => {
  const nats = await startTestNats();
  cleanUps.push(() => nats.stop());
  const connection = await connectToNats({ servers: nats.url, reconnectTimeWait: 50, maxReconnectAttempts: -1 });
  const manager = await connection.jetstreamManager();
  await manager.streams.add({ name: 'KEPT', subjects: ['kept'] });
  await connection.jetstream().publish('kept');
  await nats.pause();
  await expect(connection.request('$JS.API.INFO', '', { timeout: 300 })).rejects.toThrow('TIMEOUT');
  await nats.resume();
  await manager.streams.info('KEPT');
  await nats.kill9();
  await expect(connectToNats({ servers: nats.url, reconnect: false })).rejects.toThrow();
  await nats.start();
  await connection.close();
  const next = await connectToNats({ servers: nats.url, reconnect: false });
  const info = await (await next.jetstreamManager()).streams.info('KEPT');
  expect(info.state.messages).toBe(1);
  await next.close();
});

it('the receiver records its requests and sends the given answers', async () => {
  const receiver = await startReceiver((_request, index) =>
    index === 0 ? { status: 503, headers: { 'retry-after': '1' }, body: 'busy' } : index === 1 ? 'reset' : 'hang',
  );
  cleanUps.push(() => receiver.close());
  const body = Buffer.from([0, 255, 10]);
  const response = await fetch(`${receiver.url}/hook?x=1`, { method: 'POST', body, headers: { 'webhook-id': 'a' } });
  expect(response.status).toBe(503);
  expect(response.headers.get('retry-after')).toBe('1');
  expect(await response.text()).toBe('busy');
  const [request] = await receiver.waitForRequests(1);
  expect(request).toMatchObject({ method: 'POST', path: '/hook?x=1', headers: { 'webhook-id': 'a' } });
  expect(request?.rawBody).toEqual(body);
  await expect(fetch(receiver.url)).rejects.toThrow('fetch failed');
  const hanging = expect(fetch(receiver.url)).rejects.toThrow('fetch failed');
  await receiver.waitForRequests(3);
  expect(receiver.connectionCount()).toBeGreaterThanOrEqual(2);
  await receiver.close();
  await receiver.close();
  await hanging;
  const socket = connect(Number(new URL(receiver.url).port), '127.0.0.1');
  await expect(once(socket, 'connect')).rejects.toThrow('ECONNREFUSED');
});

it('the error of waitFor names the condition and the last exception', async () => {
  const condition = () => Promise.reject(new Error('still closed'));
  await expect(waitFor(condition, { what: 'the gate', timeoutMs: 50 })).rejects.toThrow(
    'waited 50 ms in vain for the gate; last error: still closed',
  );
  expect(await waitFor(() => 0, { what: 'a number' })).toBe(0);
});
