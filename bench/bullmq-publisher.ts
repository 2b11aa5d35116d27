import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import { uuid7 } from '../src/lib/uuid7.ts';
import { type DeliveryJob, EVENT_TYPE, JOB_OPTIONS, type Place, QUEUE, TENANT } from './bullmq-job.ts';
import { eventData } from './event-data.ts';

/** A batch of events. Larger batches cost less for each event. */
type BullmqEvents = {
  /** The events' `webhook-id`s. */
  readonly eventIds: readonly string[];
  /** Each event gets a delivery to each of these subscriptions. */
  readonly subscriptionIds: readonly string[];
};

export type BullmqPublisher = {
  readonly queue: Queue<DeliveryJob>;
  readonly subscriptionIds: readonly string[];
  readonly publish: (events: BullmqEvents) => Promise<void>;
  readonly stop: () => Promise<void>;
};

/** Inserts the rows before it adds the jobs, as a careful team does: a job's worker updates its delivery's row. */
export async function connectBullmqPublisher({ databaseUrl, redisUrl }: Place): Promise<BullmqPublisher> {
  const pool = new pg.Pool({ connectionString: databaseUrl });
  // Postgres may stop while the pool is connected.
  pool.on('error', () => undefined);
  const connection = new Redis(redisUrl, { maxRetriesPerRequest: null });
  const queue = new Queue<DeliveryJob>(QUEUE, { connection, defaultJobOptions: JOB_OPTIONS });
  await queue.waitUntilReady();
  const { rows } = await pool.query<{ id: string }>('SELECT id FROM webhook_subscriptions');
  return {
    queue,
    subscriptionIds: rows.map(({ id }) => id),
    publish: async ({ eventIds, subscriptionIds }) => {
      const events = eventIds.map(makeEvent);
      const deliveries = events.flatMap((event) => subscriptionIds.map((id) => makeDelivery(event, id)));
      await insert(pool, { events, deliveries });
      await queue.addBulk(
        deliveries.map(({ job }) => ({ name: 'deliver', data: job, opts: { jobId: job.deliveryId } })),
      );
    },
    stop: async () => {
      await queue.close();
      connection.disconnect();
      await pool.end();
    },
  };
}

type Event = Pick<DeliveryJob, 'eventId' | 'occurredAt' | 'data'> & { readonly rowId: string };
type Delivery = { readonly eventRowId: string; readonly job: DeliveryJob };

export function makeEvent(eventId: string, index: number): Event {
  const now = Date.now();
  return { rowId: uuid7(now), eventId, occurredAt: new Date(now).toISOString(), data: eventData(index) };
}

export function makeDelivery({ rowId, ...event }: Event, subscriptionId: string): Delivery {
  const job = { ...event, deliveryId: uuid7(Date.now()), subscriptionId, eventType: EVENT_TYPE };
  return { eventRowId: rowId, job };
}

type Rows = { readonly events: readonly Event[]; readonly deliveries: readonly Delivery[] };

async function insert(pool: pg.Pool, { events, deliveries }: Rows): Promise<void> {
  await pool.query({
    name: 'insert',
    text: INSERT,
    values: [
      TENANT,
      EVENT_TYPE,
      events.map(({ rowId }) => rowId),
      events.map(({ eventId }) => eventId),
      events.map(({ occurredAt }) => occurredAt),
      events.map(({ data }) => Buffer.from(data)),
      deliveries.map(({ job }) => job.deliveryId),
      deliveries.map(({ job }) => job.subscriptionId),
      deliveries.map(({ eventRowId }) => eventRowId),
    ],
  });
}

const INSERT = `
  WITH event AS (
    INSERT INTO events (id, tenant, event_id, type, occurred_at, data)
    SELECT id, $1, event_id, $2, occurred_at, data
    FROM unnest($3::uuid[], $4::text[], $5::timestamptz[], $6::bytea[]) AS e (id, event_id, occurred_at, data)
  )
  INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at, enqueued_at, enqueue_count)
  SELECT id, $1, subscription_id, event_id, $2, now(), now(), 1
  FROM unnest($7::uuid[], $8::uuid[], $9::uuid[]) AS d (id, subscription_id, event_id)`;
