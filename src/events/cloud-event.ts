/**
 * CloudEvents 1.0, NATS protocol binding. Binary mode: attributes in percent-encoded `ce-…` headers, data in the body.
 * Structured mode: `content-type` starts with `application/cloudevents`, and the body is one JSON object.
 */

import { isObject, memberText } from '../lib/json.ts';
import { isTooNested, rememberData, TOO_NESTED } from './parse.ts';

export type CloudEvent = { readonly id: string; readonly time: string | undefined; readonly data: Buffer };

/** The message is for the publisher: it describes why the CloudEvent is invalid. */
export class InvalidCloudEventError extends Error {}

export type HeaderReader = (name: string) => string | undefined;

/** Undefined if the message is not a CloudEvent. Throws an InvalidCloudEventError if it is an invalid one. */
export function readCloudEvent(header: HeaderReader, body: Buffer): CloudEvent | undefined {
  if (header('content-type')?.toLowerCase().startsWith('application/cloudevents')) return readStructured(header, body);
  return header('ce-specversion') === undefined ? undefined : readBinary(header, body);
}

function readBinary(header: HeaderReader, body: Buffer): CloudEvent {
  const attribute = (name: string) => decode(header(`ce-${name}`));
  checkAttributes(attribute);
  return { id: attribute('id') ?? '', time: attribute('time'), data: body };
}

function decode(value: string | undefined): string | undefined {
  try {
    return value === undefined ? undefined : decodeURIComponent(value);
  } catch {
    throw new InvalidCloudEventError('a ce- header is not percent-encoded UTF-8');
  }
}

function readStructured(header: HeaderReader, body: Buffer): CloudEvent {
  if (!/^application\/cloudevents(\+json)?\s*(;|$)/i.test(header('content-type') ?? '')) {
    throw new InvalidCloudEventError('the only supported structured format is application/cloudevents+json');
  }
  const text = decodeUtf8(body);
  const envelope = parseObject(text);
  const attribute = (name: string) => {
    const value = member(envelope, name);
    if (value === undefined || typeof value === 'string') return value;
    throw new InvalidCloudEventError(`${name} is not a string`);
  };
  checkAttributes(attribute);
  return { id: attribute('id') ?? '', time: attribute('time'), data: readData(text, envelope) };
}

function decodeUtf8(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    throw new InvalidCloudEventError('the body is not UTF-8');
  }
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  // The envelope adds one level of nesting to the data.
  if (isTooNested(text, 1)) throw new InvalidCloudEventError(`the body ${TOO_NESTED}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InvalidCloudEventError('the body is not JSON');
  }
  if (!isObject(value)) throw new InvalidCloudEventError('the body is not a JSON object');
  return value;
}

/** Checks the required attributes (CloudEvents 1.0.2, section 3.1). */
function checkAttributes(attribute: (name: string) => string | undefined): void {
  const missing = ['id', 'source', 'type'].filter((name) => (attribute(name) ?? '') === '');
  if (missing.length > 0) throw new InvalidCloudEventError(`required attributes are missing: ${missing.join(', ')}`);
  const version = attribute('specversion');
  if (version !== '1.0') {
    throw new InvalidCloudEventError(`specversion must be 1.0, not ${JSON.stringify(version?.slice(0, 20) ?? null)}`);
  }
}

/** JSON format, section 2.2: an attribute whose value is null counts as absent. */
function member(envelope: Readonly<Record<string, unknown>>, name: string): unknown {
  return (Object.hasOwn(envelope, name) ? envelope[name] : undefined) ?? undefined;
}

/** JSON format, section 3.1.1: at most one of `data` and `data_base64`; without either the data is null. */
function readData(text: string, envelope: Readonly<Record<string, unknown>>): Buffer {
  const base64 = member(envelope, 'data_base64');
  const value = member(envelope, 'data');
  if (base64 !== undefined) {
    if (value !== undefined) throw new InvalidCloudEventError('data and data_base64 exclude each other');
    return decodeBase64(base64);
  }
  const data = Buffer.from(memberText(text, 'data') ?? 'null');
  rememberData(data, value ?? null);
  return data;
}

function decodeBase64(value: unknown): Buffer {
  // Buffer.from ignores characters that are not base64.
  if (typeof value !== 'string' || !/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(value)) {
    throw new InvalidCloudEventError('data_base64 is not base64');
  }
  return Buffer.from(value, 'base64');
}
