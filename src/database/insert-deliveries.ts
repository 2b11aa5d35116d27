import type { Queryable } from './transaction.ts';

export type NewDelivery = {
  readonly id: string;
  readonly tenant: string;
  readonly subscriptionId: string;
  /** The event's row. */
  readonly eventRowId: string;
  readonly eventType: string;
};

/** Inserts deliveries whose first message is about to be published. */
export async function insertDeliveries(db: Queryable, deliveries: readonly NewDelivery[]): Promise<void> {
  await db.query(
    `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at, enqueued_at, enqueue_count)
     SELECT n.*, now(), now(), 1 FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[]) AS n
     ON CONFLICT DO NOTHING`,
    [
      deliveries.map((delivery) => delivery.id),
      deliveries.map((delivery) => delivery.tenant),
      deliveries.map((delivery) => delivery.subscriptionId),
      deliveries.map((delivery) => delivery.eventRowId),
      deliveries.map((delivery) => delivery.eventType),
    ],
  );
}
