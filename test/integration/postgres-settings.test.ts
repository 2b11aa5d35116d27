import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import pg from 'pg';
import { expect, inject, it } from 'vitest';
import { StartError } from '../../src/lib/start-error.ts';
import { withCheckedServer } from '../../src/postgres/check-server.ts';
import { createDatabase } from '../../src/postgres/client.ts';
import { migrate } from '../../src/postgres/migrate.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { expectCoreWorks } from '../support/core-flow.ts';
import { createTestDatabase } from '../support/database.ts';
import { startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices } from '../support/test-app.ts';

const MIGRATIONS = join(import.meta.dirname, '../../prisma/migrations');
const cleanUps = createCleanUps();

async function asAdmin(...statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: inject('postgres') });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

/** Creates an empty database and a role, which by default owns it. */
async function createPlace({ options = '', isOwner = true }: { options?: string; isOwner?: boolean } = {}) {
  const name = `place_${randomUUID().replaceAll('-', '')}`;
  await asAdmin(
    `CREATE ROLE ${name} LOGIN PASSWORD 'secret'`,
    `CREATE DATABASE ${name} ${isOwner ? `OWNER ${name}` : ''} ${options}`,
  );
  cleanUps.push(() => asAdmin(`DROP DATABASE ${name} WITH (FORCE)`, `DROP ROLE ${name}`));
  const url = new URL(inject('postgres'));
  url.pathname = `/${name}`;
  const asRole = new URL(url);
  [asRole.username, asRole.password] = [name, 'secret'];
  return { name, url: asRole.href, adminUrl: url.href };
}

async function query(url: string, ...statements: readonly string[]): Promise<pg.QueryResult | undefined> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  let result: pg.QueryResult | undefined;
  try {
    for (const statement of statements) result = await client.query(statement);
    return result;
  } finally {
    await client.end();
  }
}

const problemOf = (url: string) =>
  withCheckedServer({ url, directUrl: url }, () => Promise.resolve()).then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof StartError) return error.message;
      throw error;
    },
  );

/** Each setting would break something if the sessions of the program used it. */
const UNUSUAL = {
  timezone: 'Asia/Kathmandu',
  datestyle: 'SQL, DMY',
  intervalstyle: 'iso_8601',
  search_path: 'nowhere',
  default_transaction_isolation: 'serializable',
  standard_conforming_strings: 'off',
  bytea_output: 'escape',
  array_nulls: 'off',
  extra_float_digits: '-15',
  quote_all_identifiers: 'on',
  transform_null_equals: 'on',
  statement_timeout: '2s',
  lock_timeout: '1ms',
  idle_session_timeout: '2s',
  idle_in_transaction_session_timeout: '1ms',
  synchronous_commit: 'off',
};

it.each(['public', 'webhooks'])(
  'no setting of the role changes the behaviour, with the tables in %s',
  async (schema) => {
    const place = await createPlace();
    await query(place.url, `CREATE SCHEMA IF NOT EXISTS ${schema}`);
    for (const [name, value] of Object.entries(UNUSUAL)) {
      await asAdmin(`ALTER ROLE ${place.name} SET ${name} = ${pg.escapeLiteral(value)}`);
    }
    const services = await startTestServices();
    cleanUps.push(() => services.stop());
    const databaseUrl = schema === 'public' ? place.url : `${place.url}?schema=${schema}`;
    const app = await startTestApp({ databaseUrl, nats: services.nats });
    cleanUps.push(() => app.stop());
    const receiver = await startReceiver((_request, index) => ({ status: index === 0 ? 503 : 200 }));
    cleanUps.push(() => receiver.close());
    await expectCoreWorks({ apps: [app], publish: services.publish, receiver });
  },
);

it('commits survive a crash although the role has synchronous_commit off; weaker settings for standbys are kept', async () => {
  const place = await createPlace();
  const read = async (value: string) => {
    await asAdmin(`ALTER ROLE ${place.name} SET synchronous_commit = ${value}`);
    const database = createDatabase({ url: place.url, onError: () => undefined });
    const { rows } = await database.pool.query<{ value: string }>(
      `SELECT current_setting('synchronous_commit') AS value`,
    );
    await database.close();
    return rows[0]?.value;
  };
  expect([await read('off'), await read('local'), await read('remote_apply')]).toEqual(['on', 'local', 'remote_apply']);
});

it('triggers work in a session with another search_path', async () => {
  const database = await createTestDatabase();
  cleanUps.push(() => database.drop());
  await query(
    database.url,
    `SET search_path = ''`,
    `INSERT INTO public.webhook_subscriptions (id, tenant, url, event_types)
     VALUES (gen_random_uuid(), 'acme', 'https://example.com', '{a}')`,
  );
  const states = await query(database.url, 'SELECT subscription_id FROM subscription_states');
  expect(states?.rows).toHaveLength(1);
});

it('a database with another encoding stops the start', async () => {
  const { url, name } = await createPlace({ options: `ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0` });
  expect(await problemOf(url)).toBe(
    `the database "${name}" has the encoding LATIN1, not UTF8: name one in DATABASE_URL that was created with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`,
  );
});

it('a role without the right to create tables stops the start, until it has the right', async () => {
  const { url, adminUrl, name } = await createPlace({ isOwner: false });
  expect(await problemOf(url)).toContain(`GRANT USAGE, CREATE ON SCHEMA "public" TO "${name}"`);
  await query(adminUrl, `GRANT USAGE, CREATE ON SCHEMA "public" TO "${name}"`);
  expect(await problemOf(url)).toBeUndefined();
});

it('a role that does not own the tables stops the start', async () => {
  const { url, adminUrl, name } = await createPlace();
  await migrate(adminUrl, MIGRATIONS);
  await query(adminUrl, `GRANT ALL ON ALL TABLES IN SCHEMA public TO ${name}`);
  expect(await problemOf(url)).toContain(`the tables in the schema "public" do not belong to the role "${name}"`);
});

it('a missing schema, or another one than that of the tables, stops the start', async () => {
  const { url, name } = await createPlace();
  expect(await problemOf(`${url}?schema=webhooks`)).toBe(
    `the database "${name}" has no schema "webhooks": create it, or name another one with ?schema=… in DATABASE_URL`,
  );
  await query(url, 'CREATE SCHEMA webhooks');
  await migrate(`${url}?schema=webhooks`, MIGRATIONS);
  expect(await problemOf(`${url}?schema=webhooks`)).toBeUndefined();
  expect(await problemOf(url)).toContain(`has the engine's tables in the schema "webhooks", not in "public"`);
});

it('a role that disables triggers stops the start', async () => {
  const { url, name } = await createPlace();
  await asAdmin(`ALTER ROLE ${name} SET session_replication_role = replica`);
  expect(await problemOf(url)).toContain('session_replication_role=replica');
});
