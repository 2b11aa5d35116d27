import { join } from 'node:path';
import type pg from 'pg';
import { uuid7 } from '../src/lib/uuid7.ts';
import { withConnection } from '../src/postgres/connection.ts';
import { migrate } from '../src/postgres/migrate.ts';
import { createPartitions } from '../src/retention/partitions.ts';
import { generateSigningSecret } from '../src/subscriptions/secrets.ts';
import { EVENT_TYPE, TENANT } from './bullmq-job.ts';

const NAME = 'webhooks_bullmq';
const MIGRATIONS = join(import.meta.dirname, '../prisma/migrations');

export type BullmqDatabase = {
  /** Any database of the Postgres server that the program uses. */
  readonly serverUrl: string;
  /** Receiver endpoints. Each gets one subscription with the program's default timeout of 5 s for a request. */
  readonly urls: readonly string[];
};

/** The subscriptions' ids are in the order of the URLs. */
type CreatedDatabase = { readonly databaseUrl: string; readonly subscriptionIds: readonly string[] };

/**
 * Creates a database on the same server with the program's tables, partitions and the subscriptions. Drops the trigger
 * that records attempts for the statistics, because no process would count them.
 */
export async function createBullmqDatabase({ serverUrl, urls }: BullmqDatabase): Promise<CreatedDatabase> {
  await withConnection(serverUrl, async (client) => {
    await client.query(`DROP DATABASE IF EXISTS ${NAME} WITH (FORCE)`);
    await client.query(`CREATE DATABASE ${NAME}`);
  });
  const url = Object.assign(new URL(serverUrl), { pathname: `/${NAME}` }).href;
  await migrate(url, MIGRATIONS);
  const subscriptionIds = urls.map(() => uuid7(Date.now()));
  await withConnection(url, async (client) => {
    await createPartitions(client, { nowMs: Date.now(), retentionDays: 30 });
    await client.query('DROP TRIGGER attempts_logged ON attempts');
    for (const [index, target] of urls.entries()) {
      await client.query(
        `WITH subscription AS (
           INSERT INTO webhook_subscriptions (id, tenant, url, event_types) VALUES ($1, $2, $3, $4)
         ) INSERT INTO signing_secrets (id, subscription_id, encrypted_secret) VALUES ($5, $1, $6)`,
        [subscriptionIds[index], TENANT, target, [EVENT_TYPE], uuid7(Date.now()), generateSigningSecret()],
      );
    }
  });
  return { databaseUrl: url, subscriptionIds };
}

export type RowCounts = { readonly events: number; readonly deliveries: number; readonly attempts: number };

/** Counts events, successful deliveries and attempts. */
export async function countRows(pool: pg.Pool): Promise<RowCounts> {
  const { rows } = await pool.query<RowCounts>(
    `SELECT (SELECT count(*) FROM events)::integer AS events,
       (SELECT count(*) FROM deliveries WHERE status = 'SUCCESS')::integer AS deliveries,
       (SELECT count(*) FROM attempts)::integer AS attempts`,
  );
  return rows[0] ?? { events: 0, deliveries: 0, attempts: 0 };
}
