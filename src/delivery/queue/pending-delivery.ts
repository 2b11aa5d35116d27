/** A pending delivery with what its message needs. */
export type PendingDelivery = {
  readonly deliveryId: string;
  readonly tenant: string;
  readonly subscriptionId: string;
  readonly subscriptionVersion: string;
  readonly eventId: string;
  readonly eventType: string;
  readonly occurredAt: Date;
  readonly enqueueCount: number;
  readonly isTest: boolean;
  /** Null if it is larger than the limit asked for. */
  readonly data: Buffer | null;
};

/** The columns of a PendingDelivery, of deliveries d, events e and webhook_subscriptions s; `limit` is a parameter. */
export function pendingDeliveryColumns(limit: string): string {
  return `d.id AS "deliveryId", d.tenant, d.subscription_id AS "subscriptionId", s.version AS "subscriptionVersion",
    e.event_id AS "eventId", e.type AS "eventType", e.occurred_at AS "occurredAt", d.enqueue_count AS "enqueueCount",
    d.is_test AS "isTest",
    CASE WHEN octet_length(e.data) <= ${limit} THEN e.data END AS data`;
}
