import { isTenant } from '../auth/viewer.ts';
import { markCancelled, notifyCancelled } from '../delivery/queue/cancel.ts';
import type { Erasure } from '../generated/prisma/client.ts';
import { InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { leastChildId, uuid7 } from '../lib/uuid7.ts';
import { change, changeWithPrisma, type Database, type Queryable } from '../postgres/client.ts';
import { eraseResponseBodies } from './rows.ts';

/**
 * Starts the erasure of all data of a tenant, which ErasureJob carries out. If one is running, returns that one. Throws
 * InvalidInputError.
 */
export async function eraseTenant(database: Database, tenant: string): Promise<Erasure> {
  if (!isTenant(tenant)) throw new InvalidInputError([{ path: 'tenant', message: 'is not the name of a tenant' }]);
  return changeWithPrisma(database, async (transaction) => {
    await transaction.$executeRaw`
      INSERT INTO erasures (id, tenant) VALUES (${uuid7(database.clock.now())}::uuid, ${tenant}) ON CONFLICT DO NOTHING`;
    return transaction.erasure.findFirstOrThrow({ where: { tenant, eventRowId: null }, orderBy: { id: 'desc' } });
  });
}

type EventRow = { readonly tenant: string; readonly id: string };

/**
 * Removes the data of an event and the response bodies of its attempts, and cancels its pending deliveries. ErasureJob
 * deletes the event's messages in JetStream, and response bodies that attempts in flight record later. Redacting an
 * event again changes nothing. Throws NotFoundError.
 */
export async function redactEvent(database: Database, { tenant, id }: EventRow): Promise<void> {
  await change(database, async (db) => {
    // Waits for transactions that have locked the event to create deliveries; the next statements see those deliveries.
    const { rows } = await db.query(
      `UPDATE events SET data = 'null', redacted_at = coalesce(redacted_at, now())
       WHERE id = $1::uuid AND tenant = $2 RETURNING 1`,
      [id, tenant],
    );
    if (rows.length === 0) throw new NotFoundError('event');
    await cancelDeliveriesOf(db, id);
    await eraseResponseBodies(db, id);
    await db.query('INSERT INTO erasures (id, tenant, event_row_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', [
      uuid7(database.clock.now()),
      tenant,
      id,
    ]);
  });
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
