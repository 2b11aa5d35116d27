import type { Logger } from 'pino';
import { isTenant } from '../../auth/viewer.ts';
import { isEventType, problemOfEventId } from '../../events/event-type.ts';
import { NoAnswerError } from '../../lib/event-loop.ts';
import type { NatsClient } from '../../nats/connection.ts';
import type { Database } from '../../postgres/client.ts';
import { type DeliveryForPublishing, LEASE_MARGIN_MS, requeueDeliveries } from './store.ts';

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
export type DeliveryEnvelope = DeliveryMessage & {
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
export function encodeDeliveryMessage({ data, ...meta }: DeliveryEnvelope): Buffer {
  const line = Buffer.from(`${JSON.stringify({ ...meta, inline: data !== undefined })}\n`);
  return data === undefined ? line : Buffer.concat([line, data]);
}

/** Throws on anything encodeDeliveryMessage did not make. */
export function decodeDeliveryMessage(bytes: Uint8Array): DeliveryEnvelope {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = buffer.indexOf(0x0a);
  const parsed: unknown = JSON.parse(buffer.subarray(0, end).toString());
  if (end < 0 || !isMeta(parsed)) throw new Error('not a delivery message');
  const { inline, ...meta } = parsed;
  return { ...meta, data: inline ? buffer.subarray(end + 1) : undefined };
}

type Meta = Omit<DeliveryEnvelope, 'data'> & { readonly inline: boolean };

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

/** So many messages at a time are on their way to JetStream: beyond 64 to 256 it gets no faster (measured). */
const IN_FLIGHT = 128;
/** What is published later than this may have been taken for lost, and published by the sweeper: half of its slack. */
const LATE_MS = 30_000;

/**
 * Milliseconds after publishing for which a sender trusts that a first message is the only one of its delivery, by the
 * clock all processes share. Longer than deliveries wait in a sender with a backlog; short enough to block others from a
 * delivery whose publisher got no answer (HELD_BACK_MS).
 */
export const TRUST_FIRST_FOR_MS = 10_000;

/**
 * Milliseconds, beside the time limit of an attempt, for which nobody else attempts a delivery whose first message may be stored: as
 * long as a sender believes such a message, and as a lease lasts longer than an attempt.
 */
const HELD_BACK_MS = TRUST_FIRST_FOR_MS + LEASE_MARGIN_MS;

type MessageOptions = {
  readonly isProbe?: boolean;
  readonly sendAt?: number | undefined;
  /** Whether no other message of the delivery has ever been published: default false. */
  readonly isFirst?: boolean;
};

/** The message of a delivery that another message may be alive of, unless it is the first. */
export function toDeliveryMessage(
  pending: DeliveryForPublishing,
  { isProbe = false, sendAt, isFirst = false }: MessageOptions = {},
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
    isTest: pending.isTest,
    sendAt,
    data: pending.data ?? undefined,
  };
}

type Unpublished = {
  /** The deliveries whose message was refused, or that another message may be alive of anyway. */
  readonly lost: readonly string[];
  /** Those whose first message may have been stored, though there was no answer. */
  readonly unanswered: readonly string[];
};

async function publishDeliveries(
  bus: Pick<NatsClient, 'publishDelivery'>,
  { messages, enqueuedAt }: { readonly messages: readonly DeliveryMessage[]; readonly enqueuedAt: number },
): Promise<Unpublished> {
  const lost: string[] = [];
  const unanswered: string[] = [];
  for (let start = 0; start < messages.length; start += IN_FLIGHT) {
    const isLate = performance.now() - enqueuedAt > LATE_MS;
    const chunk = messages
      .slice(start, start + IN_FLIGHT)
      .map((message) => (isLate ? { ...message, mayBeDuplicate: true } : message));
    await Promise.all(
      chunk.map(async (message) => {
        try {
          await bus.publishDelivery(message);
        } catch (error) {
          const mayBeFirst = error instanceof NoAnswerError && !message.mayBeDuplicate;
          (mayBeFirst ? unanswered : lost).push(message.deliveryId);
        }
      }),
    );
  }
  return { lost, unanswered };
}

/**
 * Publishes the messages; deliveries whose message was not confirmed wait in Postgres for the sweeper. Returns how many
 * were published. `enqueuedAt`: when the deliveries were marked as enqueued, or before, on performance.now()'s clock.
 */
export async function publishOrRequeue(
  to: { readonly bus: NatsClient; readonly database: Database; readonly log: Logger },
  messages: readonly DeliveryMessage[],
  enqueuedAt = performance.now(),
): Promise<number> {
  const { lost, unanswered } = await publishDeliveries(to.bus, { messages, enqueuedAt });
  const count = lost.length + unanswered.length;
  if (count === 0) return messages.length;
  // Why, the bus logs every half minute.
  to.log.debug({ count }, 'NATS did not take these deliveries; they wait in Postgres');
  const { pool } = to.database;
  const options = { wereRefused: true };
  if (lost.length > 0) await requeueDeliveries(pool, lost, options);
  if (unanswered.length > 0) await requeueDeliveries(pool, unanswered, { ...options, heldBackMs: HELD_BACK_MS });
  return messages.length - count;
}

/** When the oldest message that is still in DELIVERIES was published; undefined if there is none. */
export async function oldestDeliveryMessage(
  bus: Pick<NatsClient, 'withJetStreamManager' | 'names'>,
): Promise<Date | undefined> {
  const { state } = await bus.withJetStreamManager((jsm) => jsm.streams.info(bus.names.deliveries.stream));
  return state.messages === 0 ? undefined : new Date(state.first_ts);
}
