import type { JsMsg, MsgHdrs, StoredMsg } from 'nats';
import { isTenant } from '../auth/viewer.ts';
import type { RejectionReason } from '../generated/prisma/enums.ts';
import { parseDateTime } from '../lib/date-time.ts';
import { nestingOf } from '../lib/json.ts';
import { uuid7 } from '../lib/uuid7.ts';
import { HeadersTooLargeError, headersOf, storedHeadersOf } from '../nats/headers.ts';
import type { NatsNames } from '../nats/names.ts';
import type { Mismatch } from './catalogue/compile.ts';
import { describeMismatch } from './catalogue/validator.ts';
import { type HeaderReader, InvalidCloudEventError, readCloudEvent } from './cloud-event.ts';
import { isEventType, problemOfEventId } from './event-type.ts';
import type { NewEvent } from './store.ts';

/** Maximum size of an event's data: 1 MiB. */
export const MAX_DATA_BYTES = 1024 * 1024;
/** Maximum nesting of an event's data. Most JSON parsers are recursive, and deeper data may overflow their stack. */
const MAX_NESTING = 1_000;

/** `message` is a predicate of "the data": `is empty`. */
type DataProblem = { readonly reason: 'TOO_LARGE' | 'INVALID_JSON'; readonly message: string };

/** The reason why these bytes cannot be an event's data; undefined if they can. Caches the parsed value for `parseData`. */
export function problemOfData(data: Buffer): DataProblem | undefined {
  if (data.length > MAX_DATA_BYTES) return { reason: 'TOO_LARGE', message: tooLarge(data) };
  const message = problemOfJson(data);
  return message === undefined ? undefined : { reason: 'INVALID_JSON', message };
}

export function tooLarge({ length }: Pick<Buffer, 'length'>): string {
  return `has ${length} bytes, at most ${MAX_DATA_BYTES} are accepted`;
}

export const TOO_NESTED = `is nested deeper than ${MAX_NESTING} levels`;

/** Whether a JSON text is nested deeper than an event's data may be. `envelopeLevels`: levels around the data. */
export function isTooNested(json: string, envelopeLevels = 0): boolean {
  const max = MAX_NESTING + envelopeLevels;
  return nestingOf(json, max) > max;
}

/** Parsed values by their bytes. An entry is collected with its Buffer, after the batch of its event. */
const parsed = new WeakMap<Buffer, { readonly value: unknown }>();

/** The parsed value of data that has passed `problemOfData`. The same Buffer is parsed once. */
export function parseData(data: Buffer): unknown {
  const cached = parsed.get(data);
  if (cached !== undefined) return cached.value;
  const value: unknown = JSON.parse(data.toString());
  rememberData(data, value);
  return value;
}

/** Records the value of these bytes, so that they are not parsed again. */
export function rememberData(data: Buffer, value: unknown): void {
  parsed.set(data, { value });
}

function problemOfJson(data: Buffer): string | undefined {
  if (parsed.has(data)) return undefined;
  if (data.length === 0) return 'is empty';
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
    // Checked before parsing: a megabyte of brackets takes 0.1 s to parse.
    if (isTooNested(text)) return TOO_NESTED;
    rememberData(data, JSON.parse(text));
    return undefined;
  } catch (error) {
    // V8's message quotes the offending text, which must not be logged.
    return error instanceof SyntaxError ? 'is not JSON' : 'is not UTF-8';
  }
}

/** Maximum size of a message body. It exceeds that of the data: a CloudEvent has attributes and may have data in base64. */
const MAX_BODY_BYTES = 1.5 * MAX_DATA_BYTES;

/**
 * `id` is a UUIDv7 of the JetStream timestamp; its random bits derive from timestamp and sequence number. A redelivered
 * message therefore gets the same id, and a message with a sequence number that a crashed broker reuses gets another one.
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
  readonly traceParent?: string | undefined;
};

class Rejected extends Error {
  readonly reason: RejectionReason;

  constructor(reason: RejectionReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Parses a message. Does not throw for an invalid message, but returns a rejection with the reason. */
export function parseEvent(message: IncomingMessage, names: NatsNames): ParsedEvent | Rejection {
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
    const validTenant = tenant !== undefined && isTenant(tenant) ? tenant : undefined;
    const { reason, message: text } = error;
    const subject = message.subject.slice(0, 512).toWellFormed().replaceAll('\0', '\uFFFD');
    return {
      kind: 'rejected',
      id,
      tenant: validTenant,
      subject,
      reason,
      message: text,
      sizeBytes: message.body.length,
    };
  }
}

/** The rejection of an event that violates the schema of its type. */
export function rejectMismatch(event: ParsedEvent, mismatch: Mismatch): Rejection {
  return rejectEvent(event, { reason: 'SCHEMA_MISMATCH', message: describeMismatch(mismatch) });
}

export function rejectEvent(
  { id, tenant, subject, data, traceParent }: ParsedEvent,
  why: { readonly reason: RejectionReason; readonly message: string },
): Rejection {
  return { kind: 'rejected', id, tenant, subject, ...why, sizeBytes: data.length, traceParent };
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
 * The publisher's id is `Event-Id`, which JetStream ignores; otherwise `Nats-Msg-Id`, by which JetStream also drops
 * duplicates, across tenants; otherwise the CloudEvent's id.
 */
function readContent({ header: readHeader, body }: IncomingMessage): Content {
  const header: HeaderReader = (name) => {
    try {
      return readHeader(name);
    } catch (error) {
      if (error instanceof HeadersTooLargeError) throw new Rejected('INVALID_HEADERS', error.message);
      // nats-server stores headers that the client cannot parse.
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
  const time = parseDateTime(text);
  if (time === undefined) {
    throw new Rejected('INVALID_OCCURRED_AT', 'the time must be ISO 8601 with a zone, such as 2026-01-31T12:00:00Z');
  }
  return time;
}

/** A message of the EVENTS stream, without the client's types. */
type IncomingMessage = {
  readonly subject: string;
  readonly header: HeaderReader;
  readonly body: Buffer;
  readonly sequence: number;
  /** Time at which JetStream stored the message, in nanoseconds since 1970. */
  readonly timestampNanos: number;
};

export function toIncomingMessage(message: JsMsg): IncomingMessage {
  return {
    subject: message.subject,
    header: (name: string) => readHeader(headersOf(message), name),
    body: Buffer.from(message.data.buffer, message.data.byteOffset, message.data.byteLength),
    sequence: message.seq,
    timestampNanos: message.info.timestampNanos,
  };
}

/** Converts a message that was read from the stream without a consumer. */
export function fromStoredMessage(message: StoredMsg): IncomingMessage {
  return {
    subject: message.subject,
    header: (name: string) => readHeader(storedHeadersOf(message), name),
    body: Buffer.from(message.data),
    sequence: message.seq,
    timestampNanos: nanosOf(message.timestamp),
  };
}

/** Nanoseconds of `2026-01-31T12:00:00.123456789Z` as a double, with the same rounding as in a consumed message. */
function nanosOf(timestamp: string): number {
  const [seconds = '', fraction = ''] = timestamp.replace(/Z$/, '').split('.');
  return Number(BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, '0')));
}

/** Compares header names case-insensitively, as HTTP does; NATS keeps them as sent. */
function readHeader(headers: MsgHdrs | undefined, name: string): string | undefined {
  const key = headers?.keys().find((candidate) => candidate.toLowerCase() === name.toLowerCase());
  return key === undefined ? undefined : headers?.get(key);
}
