import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import { uuid7 } from '../src/database/uuid7.ts';
import { type DeliveryJob, EVENT_TYPE, JOB_OPTIONS, QUEUE, TENANT } from './bullmq-job.ts';
import { obey } from './bullmq-process.ts';
import { eventData } from './event-data.ts';

/** Jobs added at a time, and the rows of as many deliveries written in one statement. */
const JOBS_AT_ONCE = 100;

type Published = { readonly events: readonly EventRow[]; readonly jobs: readonly DeliveryJob[] };
type EventRow = { readonly id: string; readonly occurredAt: string; readonly data: string };

/** Events as they come; all of them are for all subscriptions. */
function publish(numbers: readonly number[], subscriptionIds: readonly string[]): Published {
  const events = numbers.map((number) => {
    const now = Date.now();
    return { id: uuid7(now), occurredAt: new Date(now).toISOString(), data: eventData(number) };
  });
  const jobs = events.flatMap(({ id, occurredAt, data }) =>
    subscriptionIds.map((subscriptionId) => ({
      ...{ deliveryId: uuid7(Date.now()), subscriptionId, eventId: id },
      ...{ eventType: EVENT_TYPE, occurredAt, data },
    })),
  );
  return { events, jobs };
}

/** The log first: a job whose delivery is not in it would have nothing to update. */
async function insert(pool: pg.Pool, { events, jobs }: Published): Promise<void> {
  await pool.query({
    name: 'insert',
    text: INSERT,
    values: [
      TENANT,
      EVENT_TYPE,
      events.map(({ id }) => id),
      events.map(({ occurredAt }) => occurredAt),
      events.map(({ data }) => Buffer.from(data)),
      jobs.map(({ deliveryId }) => deliveryId),
      jobs.map(({ subscriptionId }) => subscriptionId),
      jobs.map(({ eventId }) => eventId),
    ],
  });
}

const INSERT = `
  WITH event AS (
    INSERT INTO events (id, tenant, event_id, type, occurred_at, data)
    SELECT id, $1, id::text, $2, occurred_at, data
    FROM unnest($3::uuid[], $4::timestamptz[], $5::bytea[]) AS e (id, occurred_at, data)
  )
  INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at, enqueued_at, enqueue_count)
  SELECT id, $1, subscription_id, event_id, $2, now(), now(), 1
  FROM unnest($6::uuid[], $7::uuid[], $8::uuid[]) AS d (id, subscription_id, event_id)`;

obey(async ({ databaseUrl, redisUrl }) => {
  const pool = new pg.Pool({ connectionString: databaseUrl });
  const connection = new Redis(redisUrl, { maxRetriesPerRequest: null });
  const queue = new Queue<DeliveryJob>(QUEUE, { connection, defaultJobOptions: JOB_OPTIONS });
  await queue.waitUntilReady();
  const { rows } = await pool.query<{ id: string }>('SELECT id FROM webhook_subscriptions WHERE is_active');
  const subscriptionIds = rows.map(({ id }) => id);
  const eventsAtOnce = Math.max(1, Math.floor(JOBS_AT_ONCE / subscriptionIds.length));
  return async (events) => {
    for (let from = 0; from < events; from += eventsAtOnce) {
      const numbers = Array.from({ length: Math.min(eventsAtOnce, events - from) }, (_, index) => from + index);
      const published = publish(numbers, subscriptionIds);
      await insert(pool, published);
      await queue.addBulk(published.jobs.map((data) => ({ name: 'deliver', data, opts: { jobId: data.deliveryId } })));
    }
  };
});
