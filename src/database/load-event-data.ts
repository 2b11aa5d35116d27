import type { Queryable } from './transaction.ts';

/** The data of a delivery's event, for messages that do not carry it. */
export async function loadEventData(db: Queryable, deliveryId: string): Promise<Buffer> {
  const { rows } = await db.query<{ data: Buffer }>(
    'SELECT e.data FROM deliveries d JOIN events e ON e.id = d.event_id WHERE d.id = $1',
    [deliveryId],
  );
  if (rows[0] === undefined) throw new Error(`delivery ${deliveryId} has no event`);
  return rows[0].data;
}
