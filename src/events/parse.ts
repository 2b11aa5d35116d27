import type { JsMsg } from 'nats';
import { isTenant } from '../auth/viewer.ts';
import type { RejectionReason } from '../generated/prisma/enums.ts';
import { nestingOf } from '../lib/json.ts';
import { parseMoment } from '../lib/moment.ts';
import { uuid7 } from '../lib/uuid7.ts';
import type { NatsNames } from '../nats/names.ts';
import type { Mismatch } from './catalogue/compile.ts';
import { describeMismatch } from './catalogue/validator.ts';
import { type HeaderReader, InvalidCloudEventError, readCloudEvent } from './cloud-event.ts';
import { isEventType, problemOfEventId } from './event-type.ts';
import type { NewEvent } from './store.ts';

/** The limit of an event's data: 1 MiB. */
export const MAX_DATA_BYTES = 1024 * 1024;
/** Most programs that read JSON do so recursively, and end somewhere beyond this. */
const MAX_NESTING = 1_000;

/** `message` goes on after "the data". */
type DataProblem = { readonly reason: 'TOO_LARGE' | 'INVALID_JSON'; readonly message: string };

/** Why these bytes cannot be an event's data; undefined if they can. Data that can is not parsed again, see `parseData`. */
export function problemOfData(data: Buffer): DataProblem | undefined {
  if (data.length > MAX_DATA_BYTES) return { reason: 'TOO_LARGE', message: tooLarge(data) };
  const message = problemOfJson(data);
  return message === undefined ? undefined : { reason: 'INVALID_JSON', message };
}

export function tooLarge({ length }: Pick<Buffer, 'length'>): string {
  return `has ${length} bytes, at most ${MAX_DATA_BYTES} are accepted`;
}

export const TOO_NESTED = `is nested deeper than ${MAX_NESTING} levels`;

/** Whether a JSON text is nested deeper than an event's data may be, inside so many levels of an envelope. */
export function isTooNested(json: string, envelopeLevels = 0): boolean {
  const max = MAX_NESTING + envelopeLevels;
  return nestingOf(json, max) > max;
}

/** Parsed values by their bytes; each lives as long as the batch of events that is being dispatched. */
const parsed = new WeakMap<Buffer, { readonly value: unknown }>();

/** The value of an event's data, of which `problemOfData` has found that it is JSON. Parsed once for the same bytes. */
export function parseData(data: Buffer): unknown {
  const known = parsed.get(data);
  if (known !== undefined) return known.value;
  const value: unknown = JSON.parse(data.toString());
  rememberData(data, value);
  return value;
}

/** For bytes that were made of this value, or that it was read from: they need not be parsed again. */
export function rememberData(data: Buffer, value: unknown): void {
  parsed.set(data, { value });
}

function problemOfJson(data: Buffer): string | undefined {
  if (parsed.has(data)) return undefined;
  if (data.length === 0) return 'is empty';
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
    // Before it is parsed: a megabyte of brackets takes 0.1 s to parse.
    if (isTooNested(text)) return TOO_NESTED;
    rememberData(data, JSON.parse(text));
    return undefined;
  } catch (error) {
    // V8 quotes the offending text; the publisher has it, and a log must not.
    return error instanceof SyntaxError ? 'is not JSON' : 'is not UTF-8';
  }
}

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
function readContent({ header: readHeader, body }: IncomingMessage): Content {
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

/** A message of the EVENTS stream, free of the client's types. */
type IncomingMessage = {
  readonly subject: string;
  readonly header: HeaderReader;
  readonly body: Buffer;
  readonly sequence: number;
  /** When JetStream stored it, in nanoseconds since 1970. */
  readonly timestampNanos: number;
};

export function toIncomingMessage(message: JsMsg): IncomingMessage {
  return {
    subject: message.subject,
    header: (name: string) => readHeader(message, name),
    body: Buffer.from(message.data.buffer, message.data.byteOffset, message.data.byteLength),
    sequence: message.seq,
    timestampNanos: message.info.timestampNanos,
  };
}

/** Header names are compared without regard to case, as in HTTP; NATS itself keeps them as they were sent. */
function readHeader({ headers }: JsMsg, name: string): string | undefined {
  const key = headers?.keys().find((candidate) => candidate.toLowerCase() === name.toLowerCase());
  return key === undefined ? undefined : headers?.get(key);
}
