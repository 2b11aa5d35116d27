import type { Logger } from 'pino';
import { isTenant } from '../../auth/viewer.ts';
import { isEventType, problemOfEventId } from '../../events/event-type.ts';
import { isObject } from '../../lib/json.ts';
import { parseTraceParent } from '../../lib/tracing.ts';
import { NoAnswerError } from '../../nats/publisher.ts';
import type { Database, Queryable } from '../../postgres/client.ts';
import { type DeliveryForPublishing, LEASE_MARGIN_MS, requeueDeliveries, unattemptedDeliveries } from './store.ts';
import type { DeliveryStream } from './stream.ts';

/** Everything a sender needs to make a delivery's first attempt without reading Postgres. */
export type DeliveryMessage = {
  readonly deliveryId: string;
  readonly tenant: string;
  readonly subscriptionId: string;
  /**
   * The subscription's version when this was published. A sender with an older version in its cache reads the subscription
   * again; one with a newer version checks the delivery in Postgres.
   */
  readonly subscriptionVersion: number;
  /** The event's public id, sent as `webhook-id`. */
  readonly eventId: string;
  readonly eventType: string;
  /** ISO 8601. */
  readonly occurredAt: string;
  /** Number of messages published for this delivery, this one included. */
  readonly enqueueCount: number;
  /** Whether the delivery may have another message: the sender then needs a lease before it sends. */
  readonly mayBeDuplicate: boolean;
  /** Whether the delivery is attempted even if the subscription's circuit is open. */
  readonly isProbe: boolean;
  /**
   * Whether a user requested the attempt (retryDelivery): for a minute the message is redelivered while a limit delays the
   * attempt.
   */
  readonly isRequested?: boolean | undefined;
  /**
   * Whether sendTestEvent created the delivery: it is attempted once, regardless of the subscription's circuit and
   * limits.
   */
  readonly isTest: boolean;
  /**
   * The earliest send time in milliseconds since 1970, reserved from the subscription's rate limit; undefined without
   * one.
   */
  readonly sendAt: number | undefined;
  /** The position of the event's span in its trace; undefined without tracing. */
  readonly traceParent?: string | undefined;
  /** The event's data; undefined if it is too large for a message and must be read from Postgres. */
  readonly data: Buffer | undefined;
};

/** A delivery message as the sender receives it. */
export type DeliveryEnvelope = DeliveryMessage & {
  /** The time of publication, in milliseconds since 1970. */
  readonly publishedAt: number;
};

/** Event data up to this size is sent in the message, or up to half of the server's max_payload if that is less. */
export const MAX_INLINE_DATA_BYTES = 256 * 1024;

/** JetStream drops a second message with the same id, so each publication has its own. */
export function messageId(message: DeliveryMessage): string {
  return `${message.deliveryId}:${message.enqueueCount}`;
}

/** One line of JSON, then the unchanged bytes of the data. */
export function encodeDeliveryMessage({ data, ...meta }: DeliveryEnvelope): Buffer {
  const line = Buffer.from(`${JSON.stringify({ ...meta, inline: data !== undefined })}\n`);
  return data === undefined ? line : Buffer.concat([line, data]);
}

/** Throws on bytes that are not the result of encodeDeliveryMessage. */
export function decodeDeliveryMessage(bytes: Uint8Array): DeliveryEnvelope {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = buffer.indexOf(0x0a);
  const parsed: unknown = JSON.parse(buffer.subarray(0, end).toString());
  if (end < 0 || !isMeta(parsed)) throw new Error('not a delivery message');
  const { inline, ...meta } = parsed;
  return { ...meta, data: inline ? buffer.subarray(end + 1) : undefined };
}

type Meta = Omit<DeliveryEnvelope, 'data'> & { readonly inline: boolean };

/** Rejects values that would make the SQL statement of a whole batch, or the request, fail later. */
const IS_VALID: Readonly<Record<keyof Meta, (value: unknown) => boolean>> = {
  deliveryId: isId,
  tenant: (value) => typeof value === 'string' && isTenant(value),
  subscriptionId: isId,
  subscriptionVersion: (value) => Number.isSafeInteger(value) && Number(value) >= 0,
  eventId: (value) => typeof value === 'string' && problemOfEventId(value) === undefined,
  eventType: (value) => typeof value === 'string' && isEventType(value),
  occurredAt: (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value)),
  // A Postgres integer.
  enqueueCount: (value) => Number.isInteger(value) && Number(value) >= 1 && Number(value) < 2 ** 31,
  mayBeDuplicate: isBoolean,
  isProbe: isBoolean,
  isRequested: (value) => value === undefined || isBoolean(value),
  isTest: isBoolean,
  sendAt: (value) => value === undefined || Number.isFinite(value),
  traceParent: (value) => value === undefined || (typeof value === 'string' && parseTraceParent(value) === value),
  publishedAt: Number.isFinite,
  inline: isBoolean,
};

const CHECKS = Object.entries(IS_VALID);

function isMeta(value: unknown): value is Meta {
  // Missing fields read as undefined, and no field has the name of a member of Object.prototype.
  return isObject(value) && CHECKS.every(([name, isValid]) => isValid(value[name]));
}

/** A UUID in the form that Postgres prints. */
function isId(value: unknown): boolean {
  return typeof value === 'string' && /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(value);
}

function isBoolean(value: unknown): boolean {
  return typeof value === 'boolean';
}

/** Maximum messages of one call that are published concurrently. Measured: more than 64 to 256 are not faster. */
const MAX_CONCURRENT_PUBLISHES = 128;
/** Milliseconds after which the sweeper may have requeued the delivery as lost, and published it: half of LOST_SLACK_MS. */
const LATE_MS = 30_000;

/**
 * Milliseconds after its publication for which a sender trusts that a first message is the delivery's only one, by the
 * clock that all processes share. Longer than deliveries wait in a sender with a backlog, and short, because it delays the
 * next attempt of a delivery whose publisher got no answer (HELD_BACK_MS).
 */
export const TRUST_FIRST_FOR_MS = 10_000;

/**
 * Milliseconds, in addition to the attempt timeout, for which no other process attempts a delivery whose first message
 * may have been stored: a sender trusts that message for TRUST_FIRST_FOR_MS, and needs the margin to record the attempt.
 */
const HELD_BACK_MS = TRUST_FIRST_FOR_MS + LEASE_MARGIN_MS;

type MessageOptions = {
  readonly isProbe?: boolean;
  readonly isRequested?: boolean;
  readonly sendAt?: number | undefined;
  /** Whether no other message of the delivery has been published. Default: false. */
  readonly isFirst?: boolean;
};

export function toDeliveryMessage(
  pending: DeliveryForPublishing,
  { isProbe = false, isRequested, sendAt, isFirst = false }: MessageOptions = {},
): DeliveryMessage {
  return {
    deliveryId: pending.deliveryId,
    tenant: pending.tenant,
    subscriptionId: pending.subscriptionId,
    subscriptionVersion: Number(pending.subscriptionVersion),
    eventId: pending.eventId,
    eventType: pending.eventType,
    occurredAt: pending.occurredAt.toISOString(),
    enqueueCount: pending.enqueueCount,
    mayBeDuplicate: !isFirst,
    isProbe,
    isRequested,
    isTest: pending.isTest,
    sendAt,
    traceParent: pending.traceParent ?? undefined,
    data: pending.data ?? undefined,
  };
}

/**
 * The messages of deliveries of these events (events.id) whose first message may not have been published, because a
 * crash or a lost answer occurred between the commit and the publication.
 */
export async function unpublishedMessages(
  db: Queryable,
  { eventRowIds, maxDataBytes }: { readonly eventRowIds: readonly string[]; readonly maxDataBytes: number },
): Promise<DeliveryMessage[]> {
  if (eventRowIds.length === 0) return [];
  const pending = await unattemptedDeliveries(db, { eventRowIds, maxDataBytes });
  return pending.map((delivery) => toDeliveryMessage(delivery));
}

type Unpublished = {
  /** Deliveries whose message was refused, or needs a lease in any case. */
  readonly refused: readonly string[];
  /** Deliveries whose first message may have been stored although JetStream did not answer. */
  readonly unanswered: readonly string[];
};

async function publishDeliveries(
  deliveries: DeliveryStream,
  { messages, enqueuedAt }: { readonly messages: readonly DeliveryMessage[]; readonly enqueuedAt: number },
): Promise<Unpublished> {
  const refused: string[] = [];
  const unanswered: string[] = [];
  for (let start = 0; start < messages.length; start += MAX_CONCURRENT_PUBLISHES) {
    const isLate = performance.now() - enqueuedAt > LATE_MS;
    const chunk = messages
      .slice(start, start + MAX_CONCURRENT_PUBLISHES)
      .map((message) => (isLate ? { ...message, mayBeDuplicate: true } : message));
    await Promise.all(
      chunk.map(async (message) => {
        try {
          await deliveries.publish(message);
        } catch (error) {
          const mayBeFirst = error instanceof NoAnswerError && !message.mayBeDuplicate;
          (mayBeFirst ? unanswered : refused).push(message.deliveryId);
        }
      }),
    );
  }
  return { refused, unanswered };
}

/**
 * Publishes the messages and requeues deliveries whose message JetStream did not confirm. Returns the number of published
 * messages. `enqueuedAt`: a time not after the deliveries were marked as published, by performance.now().
 */
export async function publishOrRequeue(
  {
    deliveries,
    database,
    log,
  }: { readonly deliveries: DeliveryStream; readonly database: Database; readonly log: Logger },
  messages: readonly DeliveryMessage[],
  enqueuedAt = performance.now(),
): Promise<number> {
  const { refused, unanswered } = await publishDeliveries(deliveries, { messages, enqueuedAt });
  const count = refused.length + unanswered.length;
  if (count === 0) return messages.length;
  // DeliveryStream logs the reason every 30 s.
  log.debug({ count }, 'NATS did not confirm deliveries; requeued');
  if (refused.length > 0) await requeueDeliveries(database.pool, refused, { wereRefused: true });
  if (unanswered.length > 0) {
    await requeueDeliveries(database.pool, unanswered, { wereRefused: true, heldBackMs: HELD_BACK_MS });
  }
  return messages.length - count;
}

/**
 * Maximum deliveries of one event that are published with it. The other deliveries are queued in Postgres and published when
 * senders have capacity, so that an event with thousands of subscriptions does not delay the events behind it in JetStream.
 */
export const PUBLISHED_AT_ONCE = 100;

/** Publishes the messages of one event, after the transaction that has marked them as published, and queues those beyond. */
export async function publishEventMessages(
  services: Parameters<typeof publishOrRequeue>[0],
  messages: readonly DeliveryMessage[],
): Promise<void> {
  const others = messages.slice(PUBLISHED_AT_ONCE).map(({ deliveryId }) => deliveryId);
  if (others.length > 0) await requeueDeliveries(services.database.pool, others);
  await publishOrRequeue(services, messages.slice(0, PUBLISHED_AT_ONCE));
}
