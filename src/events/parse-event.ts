import { uuid7 } from '../database/uuid7.ts';
import type { RejectionReason } from '../generated/prisma/enums.ts';
import { type HeaderReader, InvalidCloudEventError, readCloudEvent } from './cloud-event.ts';
import { isEventType, isTenant } from './event-type.ts';

/** The limit of an event's data: 1 MiB. */
export const MAX_DATA_BYTES = 1024 * 1024;
/** A CloudEvent's envelope may have its data in base64, and attributes beside it. */
const MAX_BODY_BYTES = 1.5 * MAX_DATA_BYTES;

/** A message of the EVENTS stream, free of the client's types. */
export type PublishedMessage = {
  readonly subject: string;
  readonly header: HeaderReader;
  readonly body: Buffer;
  readonly sequence: number;
  /** When JetStream stored it, in nanoseconds since 1970. */
  readonly timestampNanos: number;
};

export type ParsedEvent = {
  readonly kind: 'event';
  /** UUIDv7 of the JetStream timestamp, its random bits from timestamp and sequence together: a redelivered message
   * gets the same id, and a sequence number that a crashed broker hands out again gets another. */
  readonly id: string;
  readonly tenant: string;
  readonly eventId: string;
  readonly type: string;
  readonly occurredAt: Date;
  readonly data: Buffer;
};

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
export function parseEvent(message: PublishedMessage): ParsedEvent | Rejection {
  const timeMs = Math.floor(message.timestampNanos / 1_000_000);
  const id = uuid7(timeMs, `${message.timestampNanos}:${message.sequence}`);
  const [, tenant = '', ...typeParts] = message.subject.split('.');
  try {
    const type = typeParts.join('.');
    checkSubject(tenant, type);
    checkSize(message.body, MAX_BODY_BYTES);
    const { eventId, time, data } = readContent(message);
    checkData(data);
    const occurredAt = time === undefined ? new Date(timeMs) : parseTime(time);
    return { kind: 'event', id, tenant, eventId: eventId ?? id, type, occurredAt, data };
  } catch (error) {
    if (!(error instanceof Rejected)) throw error;
    const known = isTenant(tenant) ? tenant : undefined;
    const { reason, message: text } = error;
    const subject = message.subject.slice(0, 512).toWellFormed().replaceAll('\0', '\uFFFD');
    return { kind: 'rejected', id, tenant: known, subject, reason, message: text, sizeBytes: message.body.length };
  }
}

function checkSubject(tenant: string, type: string): void {
  if (!isTenant(tenant)) {
    throw new Rejected('INVALID_SUBJECT', 'the tenant (second part of the subject) must match [A-Za-z0-9_-]{1,64}');
  }
  if (!isEventType(type)) {
    throw new Rejected(
      'INVALID_SUBJECT',
      'the event type (after the tenant) must be names of [A-Za-z0-9_-]+ separated by dots, at most 256 characters',
    );
  }
}

type Content = { readonly eventId: string | undefined; readonly time: string | undefined; readonly data: Buffer };

/** The publisher's id is `Nats-Msg-Id`, which is also what JetStream goes by; without it a CloudEvent's id. */
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
  const messageId = header('Nats-Msg-Id');
  const cloudEvent = tryReadCloudEvent(header, body);
  const eventId = messageId ?? cloudEvent?.id;
  if (eventId !== undefined && !/^[\x21-\x7e]{1,256}$/.test(eventId)) {
    throw new Rejected('INVALID_EVENT_ID', 'the id must be 1 to 256 visible ASCII characters: it is sent as a header');
  }
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

function checkSize({ length }: Buffer, limit: number): void {
  if (length > limit)
    throw new Rejected('TOO_LARGE', `there are ${length} bytes of data, at most ${MAX_DATA_BYTES} are accepted`);
}

function checkData(data: Buffer): void {
  checkSize(data, MAX_DATA_BYTES);
  const text = decodeJson(data);
  if (nestingOf(text) > MAX_NESTING) {
    throw new Rejected('INVALID_JSON', `the data is nested deeper than ${MAX_NESTING} levels`);
  }
}

function decodeJson(data: Buffer): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
    JSON.parse(text);
    return text;
  } catch (error) {
    // V8 quotes the offending text; the publisher has it, and a log must not.
    const why = error instanceof SyntaxError ? 'the data is not JSON' : 'the data is not UTF-8';
    throw new Rejected('INVALID_JSON', data.length === 0 ? 'there is no data' : why);
  }
}

/** Most who read JSON do so recursively, and end somewhere beyond this. */
const MAX_NESTING = 1_000;

/** How deep the arrays and objects of a valid JSON text are nested. */
function nestingOf(json: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]]/g)) {
    if (token === '{' || token === '[') depth += 1;
    else if (token === '}' || token === ']') depth -= 1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

/** RFC 3339, which both ISO 8601 users and CloudEvents write. */
const TIME = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}:\d{2})$/;

function parseTime(text: string): Date {
  const time = new Date(TIME.test(text) ? text : Number.NaN);
  const year = time.getUTCFullYear();
  // What RFC 3339 can write, also after the zone has been taken off.
  if (!(year >= 1 && year <= 9_999)) {
    throw new Rejected('INVALID_OCCURRED_AT', 'the time must be ISO 8601 with a zone, such as 2026-01-31T12:00:00Z');
  }
  return time;
}
