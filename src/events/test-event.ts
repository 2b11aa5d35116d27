import type { Logger } from 'pino';
import { publishOrRequeue } from '../delivery/queue/message.ts';
import type { DeliveryStream } from '../delivery/queue/stream.ts';
import { DomainError } from '../lib/errors.ts';
import { leastChildId } from '../lib/uuid7.ts';
import { pause } from '../lib/waiting.ts';
import { type Database, type Queryable, transaction } from '../postgres/client.ts';
import { emitSystemEvent } from './system-event.ts';

export type TestEvent = {
  readonly subscriptionId: string;
  readonly tenant: string;
  readonly eventType: string;
  /** JSON. */
  readonly data: string;
};

/** Maximum pending test events of a tenant. Tests bypass subscription limits, so a stalled endpoint accumulates them. */
export const MAX_PENDING_TESTS = 10;
const FIRST_POLL_MS = 20;
const MAX_POLL_MS = 250;

/** The tenant has the maximum number of pending test events. */
export class TooManyTestsError extends DomainError {
  readonly code = 'TOO_MANY_TESTS';

  constructor() {
    super(
      `${MAX_PENDING_TESTS} test events of the tenant are still being sent; wait until one has ended, or cancel its delivery`,
    );
  }
}

/**
 * Writes an event for one subscription, regardless of its event types, and publishes its delivery. While NATS is
 * unavailable, the delivery is queued in Postgres (`isPublished: false`). Throws a TooManyTestsError.
 */
export async function sendTestEvent(
  services: { readonly database: Database; readonly deliveries: DeliveryStream; readonly log: Logger },
  { subscriptionId, tenant, eventType, data }: TestEvent,
): Promise<{ readonly deliveryId: string; readonly isPublished: boolean }> {
  const { database, deliveries } = services;
  const event = { tenant, type: eventType, data, subscriptionIds: [subscriptionId] };
  const options = { maxDataBytes: deliveries.maxInlineDataBytes, isTest: true };
  const [message] = await transaction(database.pool, async (db) => {
    await lockTests(db, tenant);
    if ((await countPendingTests(db, tenant)) >= MAX_PENDING_TESTS) throw new TooManyTestsError();
    return emitSystemEvent(db, event, options);
  });
  if (message === undefined) throw new Error(`no delivery was created for webhook subscription ${subscriptionId}`);
  const published = await publishOrRequeue(services, [message]);
  return { deliveryId: message.deliveryId, isPublished: published === 1 };
}

/** Arbitrary first key of the advisory lock. Never change it. Locks with two keys do not collide with those with one. */
const TEST_LOCK = 57_032;

/**
 * Takes the tenant's lock until the transaction ends, so that concurrent requests cannot count the same tests. It is a
 * statement of its own: the next one must see the tests of the transaction that had the lock.
 */
async function lockTests(db: Queryable, tenant: string): Promise<void> {
  await db.query('SELECT pg_advisory_xact_lock($1::integer, hashtext($2::text))', [TEST_LOCK, tenant]);
}

async function countPendingTests(db: Queryable, tenant: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `SELECT count(*)::integer AS count FROM deliveries WHERE tenant = $1 AND is_test AND status = 'PENDING'`,
    [tenant],
  );
  return rows[0]?.count ?? 0;
}

/**
 * Waits for the delivery's first attempt in the delivery log and returns its id; 'pending' if there is none after `waitMs`,
 * 'ended' if the delivery ended without one. Polls Postgres, because any process may be the sender and NATS may be
 * unavailable.
 */
export async function waitForAttempt(
  db: Queryable,
  deliveryId: string,
  { waitMs, signal }: { readonly waitMs: number; readonly signal: AbortSignal },
): Promise<{ readonly attemptId: string } | 'pending' | 'ended'> {
  const until = performance.now() + waitMs;
  // This bound lets Postgres prune the partitions of earlier days.
  const sinceId = leastChildId(deliveryId);
  for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(MAX_POLL_MS, 1.5 * pollMs)) {
    const { rows } = await db.query<{ isPending: boolean; attemptId: string | null }>(
      `SELECT status = 'PENDING' AS "isPending", (
         SELECT id FROM attempts WHERE delivery_id = $1 AND id >= $2 ORDER BY number LIMIT 1
       ) AS "attemptId"
       FROM deliveries WHERE id = $1`,
      [deliveryId, sinceId],
    );
    const [delivery] = rows;
    const leftMs = until - performance.now();
    if (delivery?.attemptId != null) return { attemptId: delivery.attemptId };
    if (delivery?.isPending !== true) return 'ended';
    if (leftMs <= 0 || signal.aborted) return 'pending';
    await pause(Math.min(pollMs, leftMs), signal);
  }
}
