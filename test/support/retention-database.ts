import pg from 'pg';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { withConnection } from '../../src/postgres/connection.ts';
import { createPartitions, dropPartitions } from '../../src/retention/partitions.ts';
import { createTestDatabase } from './database.ts';

export const DAY_MS = 86_400_000;

type OldDelivery = {
  readonly timeMs: number;
  readonly status: 'PENDING' | 'SUCCESS' | 'FAILURE' | 'CANCELLED';
  readonly subscriptionId?: string;
};

export type DeliveryIds = { readonly event: string; readonly delivery: string; readonly attempt: string };

export type RetentionDatabase = {
  readonly url: string;
  readonly pool: pg.Pool;
  /** Creates the partitions that a program running at that time would have created. */
  readonly createPartitions: (nowMs: number) => Promise<void>;
  /** Inserts an event with the id `ev-<row id>`, its delivery and one attempt, as if they had been created at that time. */
  readonly insert: (delivery: OldDelivery) => Promise<DeliveryIds>;
  /** Returns the tables that still have their row, sorted by name. */
  readonly remaining: (ids: DeliveryIds) => Promise<string[]>;
  /** The names of the partitions of all three tables, without the default partitions. */
  readonly partitions: () => Promise<string[]>;
  readonly drop: () => Promise<void>;
};

/** Opens the given database, or a new one, for rows of the past. */
export async function createRetentionDatabase(given?: string): Promise<RetentionDatabase> {
  const database = given === undefined ? await createTestDatabase() : { url: given, drop: () => Promise.resolve() };
  const { url } = database;
  const pool = new pg.Pool({ connectionString: url, max: 10, options: '-c datestyle=ISO' });
  pool.on('error', () => undefined);
  return {
    url,
    pool,
    createPartitions: async (nowMs) => {
      await withConnection(url, (client) => createPartitions(client, { nowMs, retentionDays: 30 }));
    },
    insert: (delivery) => insert(pool, delivery),
    remaining: (ids) => remaining(pool, ids),
    partitions: async () => {
      const { rows } = await pool.query<{ name: string }>(
        `SELECT relname AS name FROM pg_class
         WHERE relispartition AND relkind = 'r' AND relname NOT LIKE '%default' ORDER BY 1`,
      );
      return rows.map(({ name }) => name);
    },
    drop: async () => {
      await pool.end();
      await database.drop();
    },
  };
}

const SUBSCRIPTION_ID = uuid7(0, 'subscription');

async function insert(
  pool: pg.Pool,
  { timeMs, status, subscriptionId = SUBSCRIPTION_ID }: OldDelivery,
): Promise<DeliveryIds> {
  const ids = { event: uuid7(timeMs), delivery: uuid7(timeMs), attempt: uuid7(timeMs) };
  const time = new Date(timeMs);
  const eventId = `ev-${ids.event}`;
  await pool.query(
    `WITH known AS (INSERT INTO event_ids (tenant, event_id, event_row_id) VALUES ('acme', $2, $1))
     INSERT INTO events (id, tenant, event_id, type, occurred_at, data) VALUES ($1, 'acme', $2, 'a', $3, '{}')`,
    [ids.event, eventId, time],
  );
  await pool.query(
    `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, status, next_attempt_at)
     VALUES ($1, 'acme', $2, $3, 'a', $4, CASE WHEN $4 = 'PENDING'::delivery_status THEN $5::timestamptz END)`,
    [ids.delivery, subscriptionId, ids.event, status, new Date(Date.now() + DAY_MS)],
  );
  await pool.query(
    `INSERT INTO attempts (id, delivery_id, subscription_id, tenant, event_type, number, status, response_time_ms,
       started_at, url, request_headers, payload_size_bytes)
     VALUES ($1, $2, $3, 'acme', 'a', 1, 'SUCCESS', 1, $4, 'x', '{}', 2)`,
    [ids.attempt, ids.delivery, subscriptionId, time],
  );
  return ids;
}

async function remaining(pool: pg.Pool, { event, delivery, attempt }: DeliveryIds): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `SELECT 'attempt' AS name FROM attempts WHERE id = $1
     UNION ALL SELECT 'delivery' FROM deliveries WHERE id = $2
     UNION ALL SELECT 'event' FROM events WHERE id = $3
     UNION ALL SELECT 'event id' FROM event_ids WHERE event_row_id = $3
     ORDER BY 1`,
    [attempt, delivery, event],
  );
  return rows.map(({ name }) => name);
}

type Retention = Omit<Parameters<typeof dropPartitions>[1], 'signal'>;

export function dropPartitionsOnce(url: string, retention: Retention): ReturnType<typeof dropPartitions> {
  const { signal } = new AbortController();
  return withConnection(url, (client) => dropPartitions(client, { ...retention, signal }));
}

/** Drops partitions until none is in use: on a busy machine, even a free lock can be granted too late. */
export async function dropUnusedPartitions(url: string, retention: Retention) {
  const dropped: string[] = [];
  for (;;) {
    const result = await dropPartitionsOnce(url, retention);
    dropped.push(...result.dropped);
    if (!result.isBusy) return { dropped, kept: result.kept };
  }
}
