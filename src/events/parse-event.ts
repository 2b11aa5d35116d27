import type { NewEvent } from './insert-events.ts';
import { uuid7 } from '../lib/uuid7.ts';
import type { RejectionReason } from '../generated/prisma/enums.ts';
import { parseMoment } from '../lib/moment.ts';
import { type HeaderReader, InvalidCloudEventError, readCloudEvent } from './cloud-event.ts';
import type { Mismatch } from './catalogue/compile-schema.ts';
import { MAX_DATA_BYTES, problemOfData, tooLarge } from './event-data.ts';
import { describeMismatch } from './catalogue/event-data-invalid-error.ts';
import { problemOfEventId } from './event-id.ts';
import { isEventType, isTenant } from './event-type.ts';
import type { NatsNames } from '../nats/nats-names.ts';
import type { PublishedMessage } from './published-message.ts';

/** A CloudEvent's envelope may have its data in base64, and attributes beside it. */
const MAX_BODY_BYTES = 1.5 * MAX_DATA_BYTES;

/**
 * Its `id` is a UUIDv7 of the JetStream timestamp, its random bits from timestamp and sequence together: a redelivered
 * message gets the same id, and a sequence number that a crashed broker hands out again gets another.
 */
export type ParsedEvent = NewEvent & { readonly kind: 'event'; readonly subject: string };

export type Rejection = {
  readonly kind: 'rejected';
  readonly id: string;
  readonly tenant: string | undefined;
  readonly subject: string;
  readonly reason: RejectionReason;
  readonly message: string;
  readonly sizeBytes: number;
};

class Rejected extends Error {
  readonly reason: RejectionReason;

  constructor(reason: RejectionReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Never throws: what is not an event is a rejection that says why. */
export function parseEvent(message: PublishedMessage, names: NatsNames): ParsedEvent | Rejection {
  const timeMs = Math.floor(message.timestampNanos / 1_000_000);
  const id = uuid7(timeMs, `${message.timestampNanos}:${message.sequence}`);
  const { tenant, type } = names.parseEventSubject(message.subject) ?? {};
  try {
    if (tenant === undefined || type === undefined) {
      throw new Rejected('INVALID_SUBJECT', `the subject must be ${names.eventSubject('<tenant>', '<event type>')}`);
    }
    checkSubject(tenant, type);
    checkSize(message.body);
    const { eventId, time, data } = readContent(message);
    checkData(data);
    const occurredAt = time === undefined ? new Date(timeMs) : parseTime(time);
    const { subject } = message;
    return { kind: 'event', id, tenant, subject, eventId: eventId ?? id, type, occurredAt, data };
  } catch (error) {
    if (!(error instanceof Rejected)) throw error;
    const known = tenant !== undefined && isTenant(tenant) ? tenant : undefined;
    const { reason, message: text } = error;
    const subject = message.subject.slice(0, 512).toWellFormed().replaceAll('\0', '\uFFFD');
    return { kind: 'rejected', id, tenant: known, subject, reason, message: text, sizeBytes: message.body.length };
  }
}

/** An event that breaks the schema of its type. */
export function rejectMismatch(event: ParsedEvent, mismatch: Mismatch): Rejection {
  return rejectEvent(event, { reason: 'SCHEMA_MISMATCH', message: describeMismatch(mismatch) });
}

/** What was read as an event, and is none after all. */
export function rejectEvent(
  { id, tenant, subject, data }: ParsedEvent,
  why: { readonly reason: RejectionReason; readonly message: string },
): Rejection {
  return { kind: 'rejected', id, tenant, subject, ...why, sizeBytes: data.length };
}

function checkSubject(tenant: string, type: string): void {
  if (!isTenant(tenant)) {
    throw new Rejected(
      'INVALID_SUBJECT',
      'the tenant (the part of the subject after `events`) must match [A-Za-z0-9_-]{1,64}',
    );
  }
  if (!isEventType(type)) {
    throw new Rejected(
      'INVALID_SUBJECT',
      'the event type (after the tenant) must be names of [A-Za-z0-9_-]+ separated by dots, at most 256 characters',
    );
  }
}

type Content = { readonly eventId: string | undefined; readonly time: string | undefined; readonly data: Buffer };

/**
 * The publisher's id is `Event-Id`, which only we look at; without it `Nats-Msg-Id`, by which JetStream drops what two
 * tenants publish at the same moment; without both a CloudEvent's id.
 */
function readContent({ header: readHeader, body }: PublishedMessage): Content {
  const header: HeaderReader = (name) => {
    try {
      return readHeader(name);
    } catch {
      // nats-server stores what its client then refuses to parse.
      throw new Rejected(
        'INVALID_HEADERS',
        'the headers cannot be read: names may have no spaces, values no line breaks',
      );
    }
  };
  const ownId = header('Event-Id') ?? header('Nats-Msg-Id');
  const cloudEvent = tryReadCloudEvent(header, body);
  const eventId = ownId ?? cloudEvent?.id;
  const problem = eventId === undefined ? undefined : problemOfEventId(eventId);
  if (problem !== undefined) throw new Rejected('INVALID_EVENT_ID', `the id ${problem}`);
  return { eventId, time: cloudEvent?.time ?? header('Occurred-At'), data: cloudEvent?.data ?? body };
}

function tryReadCloudEvent(header: HeaderReader, body: Buffer) {
  try {
    return readCloudEvent(header, body);
  } catch (error) {
    if (error instanceof InvalidCloudEventError) throw new Rejected('INVALID_CLOUD_EVENT', error.message);
    throw error;
  }
}

function checkSize(body: Buffer): void {
  if (body.length > MAX_BODY_BYTES) throw new Rejected('TOO_LARGE', `the data ${tooLarge(body)}`);
}

function checkData(data: Buffer): void {
  const problem = problemOfData(data);
  if (problem !== undefined) throw new Rejected(problem.reason, `the data ${problem.message}`);
}

function parseTime(text: string): Date {
  const time = parseMoment(text);
  if (time === undefined) {
    throw new Rejected('INVALID_OCCURRED_AT', 'the time must be ISO 8601 with a zone, such as 2026-01-31T12:00:00Z');
  }
  return time;
}
