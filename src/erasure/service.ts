import { problemOfTenant } from '../auth/viewer.ts';
import { markCancelled, notifyCancelled } from '../delivery/queue/cancel.ts';
import type { Erasure } from '../generated/prisma/client.ts';
import { DomainError, InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { leastChildId, uuid7 } from '../lib/uuid7.ts';
import { type Database, mutate, mutateWithPrisma, type Queryable } from '../postgres/client.ts';
import { eraseResponseBodies } from './rows.ts';

/**
 * Starts the erasure of all data of a tenant, which ErasureJob carries out. If one is running, returns that one. Throws
 * InvalidInputError.
 */
export async function eraseTenant(database: Database, tenant: string): Promise<Erasure> {
  const message = problemOfTenant(tenant);
  if (message !== undefined) throw new InvalidInputError([{ path: 'tenant', message }]);
  return mutateWithPrisma(database, async (transaction) => {
    await transaction.$executeRaw`
      INSERT INTO erasures (id, tenant) VALUES (${uuid7(database.clock.now())}::uuid, ${tenant}) ON CONFLICT DO NOTHING`;
    return transaction.erasure.findFirstOrThrow({ where: { tenant, eventRowId: null }, orderBy: { id: 'desc' } });
  });
}

/**
 * Maximum running redactions of a tenant; concurrent ones may exceed it by a few. Bounds the work of ErasureJob for a tenant,
 * each redaction takes some 20 requests to NATS twice, and its search for the next step.
 */
const MAX_REDACTIONS = 10_000;

type EventRow = { readonly tenant: string; readonly id: string };

/**
 * Removes the data of an event and the response bodies of its attempts, and cancels its pending deliveries. ErasureJob
 * deletes the event's messages in JetStream, and response bodies that attempts in flight record later. Redacting an
 * event again changes nothing. Throws NotFoundError or TooManyRedactionsError.
 */
export async function redactEvent(database: Database, { tenant, id }: EventRow): Promise<void> {
  await mutate(database, async (db) => {
    const { rows: started } = await db.query(
      'INSERT INTO erasures (id, tenant, event_row_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1',
      [uuid7(database.clock.now()), tenant, id],
    );
    if (started.length > 0 && (await countRedactions(db, tenant)) > MAX_REDACTIONS) {
      throw new TooManyRedactionsError(MAX_REDACTIONS);
    }
    // Waits for transactions that have locked the event to create deliveries; the next statements see those deliveries.
    const { rows } = await db.query(
      `UPDATE events SET data = 'null', redacted_at = coalesce(redacted_at, now())
       WHERE id = $1::uuid AND tenant = $2 RETURNING 1`,
      [id, tenant],
    );
    if (rows.length === 0) throw new NotFoundError('event');
    await cancelDeliveriesOf(db, id);
    await eraseResponseBodies(db, id);
  });
}

/** The number of running redactions of a tenant. */
async function countRedactions(db: Queryable, tenant: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `SELECT count(*)::integer AS count FROM erasures
     WHERE tenant = $1 AND event_row_id IS NOT NULL AND status = 'RUNNING'`,
    [tenant],
  );
  return rows[0]?.count ?? 0;
}

/**
 * Cancels the pending deliveries of an event, and notifies the senders, which make first attempts without reading
 * Postgres.
 */
async function cancelDeliveriesOf(db: Queryable, eventRowId: string): Promise<void> {
  const { rows: pending } = await db.query<{ id: string }>(
    `SELECT id FROM deliveries WHERE event_id = $1 AND id >= $2 AND status = 'PENDING' ORDER BY id FOR NO KEY UPDATE`,
    [eventRowId, leastChildId(eventRowId)],
  );
  if (pending.length === 0) return;
  const ids = pending.map(({ id }) => id);
  await markCancelled(db, ids);
  await notifyCancelled(db, ids);
}

/** The tenant's earlier redactions are still deleting messages. */
export class TooManyRedactionsError extends DomainError {
  readonly code = 'TOO_MANY_REDACTIONS';

  constructor(limit: number) {
    super(`at most ${limit} redactions of a tenant can run at a time, each for at least five minutes; try again later`);
  }
}
