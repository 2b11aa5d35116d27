import { afterAll, beforeAll, expect, test } from 'vitest';
import { ErasureJob } from '../../src/erasure/job.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { type Api, post, startApi } from '../support/graphql-api.ts';
import { waitFor } from '../support/wait-for.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(async () => {
  await api.stop();
});

/** Starts a redaction of an event that is no longer stored, whose round ends with its first step; null: of the tenant. */
async function startErasure(tenant: string, eventRowId: string | null): Promise<void> {
  await api.database.pool.query('INSERT INTO erasures (id, tenant, event_row_id) VALUES ($1, $2, $3)', [
    uuid7(Date.now()),
    tenant,
    eventRowId,
  ]);
}

test('tenants take turns, and the erasure of a tenant comes before its redactions', async () => {
  const { pool } = api.database;
  // Logs the steps, which are too short for an order by time.
  await pool.query(`
    CREATE TABLE steps (number serial, tenant text, whole boolean);
    CREATE FUNCTION log_step() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO steps (tenant, whole) VALUES (NEW.tenant, NEW.event_row_id IS NULL); RETURN NULL; END $$;
    CREATE TRIGGER log_step AFTER UPDATE ON erasures FOR EACH ROW EXECUTE FUNCTION log_step();
  `);
  for (let n = 0; n < 5; n += 1) await startErasure('flood', uuid7(Date.now()));
  for (let n = 0; n < 2; n += 1) await startErasure('other', uuid7(Date.now()));
  for (let n = 0; n < 2; n += 1) await startErasure('leaving', uuid7(Date.now()));
  await startErasure('leaving', null);
  const { databaseUrl, database, natsClient, log } = api;
  const job = new ErasureJob({ database, databaseUrl, nats: natsClient, log });
  job.start();
  const steps = await waitFor(
    async () => {
      const { rows } = await pool.query<{ tenant: string; whole: boolean }>(
        'SELECT tenant, whole FROM steps ORDER BY number',
      );
      return rows.length === 10 && rows;
    },
    { what: 'a step of each erasure' },
  );
  await job.stop();
  expect(steps.map(({ tenant, whole }) => (whole ? `${tenant}, whole` : tenant))).toEqual([
    ...['flood', 'leaving, whole', 'other'],
    ...['flood', 'leaving', 'other'],
    ...['flood', 'leaving'],
    ...['flood', 'flood'],
  ]);
});

test('a redaction beyond the limit of its tenant is refused and changes nothing', async () => {
  const { pool } = api.database;
  const publish = async (tenant: string, eventId: string) => {
    const id = uuid7(Date.now());
    await pool.query(
      `INSERT INTO events (id, tenant, event_id, type, occurred_at, data) VALUES ($1, $2, $3, 'a', now(), '{"a":1}')`,
      [id, tenant, eventId],
    );
    await pool.query('INSERT INTO event_ids VALUES ($1, $2, $3)', [tenant, eventId, id]);
  };
  const redact = async (tenant: string, eventId: string) => {
    const query = `mutation { redactEvent(tenant: "${tenant}", id: "${eventId}") { __typename ... on Error { code message } } }`;
    const { data } = await post<{ redactEvent: Record<string, string> }>(api.graphql, JSON.stringify({ query }));
    return data?.redactEvent;
  };
  await pool.query(
    `INSERT INTO erasures (id, tenant, event_row_id, status)
     SELECT gen_random_uuid(), 'many', gen_random_uuid(), status::erasure_status
     FROM generate_series(1, 9999) n, unnest('{RUNNING,COMPLETED}'::text[]) AS status`,
  );
  for (const [tenant, eventId] of [
    ['many', 'last'],
    ['many', 'refused'],
    ['few', 'first'],
  ] as const) {
    await publish(tenant, eventId);
  }
  expect(await redact('many', 'last')).toEqual({ __typename: 'RedactEventPayload' });
  expect(await redact('many', 'refused')).toEqual({
    __typename: 'TooManyRedactionsError',
    code: 'TOO_MANY_REDACTIONS',
    message: 'at most 10000 redactions of a tenant can run at a time, each for at least five minutes; try again later',
  });
  // It is running already.
  expect(await redact('many', 'last')).toEqual({ __typename: 'RedactEventPayload' });
  expect(await redact('few', 'first')).toEqual({ __typename: 'RedactEventPayload' });
  const { rows } = await pool.query(
    `SELECT event_id AS id, convert_from(data, 'UTF8') AS data FROM events WHERE tenant = 'many' ORDER BY id`,
  );
  expect(rows).toEqual([
    { id: 'last', data: 'null' },
    { id: 'refused', data: '{"a":1}' },
  ]);
});
