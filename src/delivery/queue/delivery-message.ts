import { problemOfEventId } from '../../events/event-id.ts';
import { isEventType, isTenant } from '../../events/event-type.ts';

/** What the sender needs to make the first attempt of a delivery without reading Postgres. */
export type DeliveryMessage = {
  readonly deliveryId: string;
  readonly tenant: string;
  readonly subscriptionId: string;
  /** The subscription's version when this was enqueued: a cache that is older is read again, and if it is newer, Postgres is asked. */
  readonly subscriptionVersion: number;
  /** The event's public id, sent as `webhook-id`. */
  readonly eventId: string;
  readonly eventType: string;
  /** ISO 8601. */
  readonly occurredAt: string;
  /** How often a message for this delivery has been published, this one included. */
  readonly enqueueCount: number;
  /** Whether another message for it may still be alive: then Postgres is asked before anything is sent. */
  readonly mayBeDuplicate: boolean;
  /** Whether it is attempted although the subscription's circuit is open. */
  readonly isProbe: boolean;
  /** Sent by sendTestEvent: attempted once, whatever the circuit and the limits of the subscription say. */
  readonly isTest: boolean;
  /** Not before then, in milliseconds since 1970: a moment that the subscription's rate limit leaves free. */
  readonly sendAt: number | undefined;
  /** The event's data; undefined if it is too large for a message: then it is read from Postgres. */
  readonly data: Buffer | undefined;
};

/** As the sender gets it. */
export type PublishedDelivery = DeliveryMessage & {
  /** When it was given to JetStream, in milliseconds since 1970. */
  readonly publishedAt: number;
};

/** Data larger than this stays in Postgres, or what fits twice into the server's max_payload if that is less. */
export const MAX_INLINE_DATA_BYTES = 256 * 1024;

/** JetStream drops a second message with the same id, so every enqueueing has its own. */
export function messageId(message: DeliveryMessage): string {
  return `${message.deliveryId}:${message.enqueueCount}`;
}

/** One line of JSON, then the data's bytes as they are. */
export function encodeDeliveryMessage({ data, ...meta }: PublishedDelivery): Buffer {
  const line = Buffer.from(`${JSON.stringify({ ...meta, inline: data !== undefined })}\n`);
  return data === undefined ? line : Buffer.concat([line, data]);
}

/** Throws on anything encodeDeliveryMessage did not make. */
export function decodeDeliveryMessage(bytes: Uint8Array): PublishedDelivery {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = buffer.indexOf(0x0a);
  const parsed: unknown = JSON.parse(buffer.subarray(0, end).toString());
  if (end < 0 || !isMeta(parsed)) throw new Error('not a delivery message');
  const { inline, ...meta } = parsed;
  return { ...meta, data: inline ? buffer.subarray(end + 1) : undefined };
}

type Meta = Omit<PublishedDelivery, 'data'> & { readonly inline: boolean };

/** What would break the statement of a whole batch, or a request, further on. */
const IS_VALID: Readonly<Record<keyof Meta, (value: unknown) => boolean>> = {
  deliveryId: isId,
  tenant: (value) => typeof value === 'string' && isTenant(value),
  subscriptionId: isId,
  subscriptionVersion: (value) => Number.isSafeInteger(value) && Number(value) >= 0,
  eventId: (value) => typeof value === 'string' && problemOfEventId(value) === undefined,
  eventType: (value) => typeof value === 'string' && isEventType(value),
  occurredAt: (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value)),
  // An integer of Postgres's.
  enqueueCount: (value) => Number.isInteger(value) && Number(value) >= 1 && Number(value) < 2 ** 31,
  mayBeDuplicate: isBoolean,
  isProbe: isBoolean,
  isTest: isBoolean,
  sendAt: (value) => value === undefined || Number.isFinite(value),
  publishedAt: Number.isFinite,
  inline: isBoolean,
};

const CHECKS = Object.entries(IS_VALID);

function isMeta(value: unknown): value is Meta {
  if (typeof value !== 'object' || value === null) return false;
  // `as`: what is not there is undefined, and no field has the name of something that every object has.
  const fields = value as Readonly<Record<string, unknown>>;
  return CHECKS.every(([name, isValid]) => isValid(fields[name]));
}

/** A UUID as Postgres writes it. */
function isId(value: unknown): boolean {
  return typeof value === 'string' && /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(value);
}

function isBoolean(value: unknown): boolean {
  return typeof value === 'boolean';
}
