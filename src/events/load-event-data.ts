import { idRange } from '../lib/id-range.ts';
import type { Queryable } from '../postgres/transaction.ts';

/** The data of these deliveries' events by delivery id, for messages that do not carry it. */
export async function loadEventData(
  db: Queryable,
  deliveryIds: readonly string[],
): Promise<ReadonlyMap<string, Buffer>> {
  const { rows } = await db.query<{ id: string; data: Buffer }>(
    `SELECT d.id, e.data FROM deliveries d JOIN events e ON e.id = d.event_id
     WHERE d.id = ANY ($1::uuid[]) AND d.id BETWEEN $2::uuid AND $3::uuid`,
    [deliveryIds, ...idRange(deliveryIds)],
  );
  return new Map(rows.map(({ id, data }) => [id, data]));
}
