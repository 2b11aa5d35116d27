export type WebhookEvent = {
  readonly eventId: string;
  readonly eventType: string;
  /** ISO 8601. */
  readonly occurredAt: string;
  readonly data: Buffer;
};

/** `{"id","type","timestamp","data"}` with the data byte for byte as it was published: it is never parsed again. */
export function webhookBody({ eventId, eventType, occurredAt, data }: WebhookEvent): Buffer {
  const head = JSON.stringify({ id: eventId, type: eventType, timestamp: occurredAt });
  return Buffer.concat([Buffer.from(`${head.slice(0, -1)},"data":`), data, Buffer.from('}')]);
}
