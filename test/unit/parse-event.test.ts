import { describe, expect, it } from 'vitest';
import { MAX_DATA_BYTES, type ParsedEvent, parseEvent, type Rejection } from '../../src/events/parse.ts';
import { natsNames } from '../../src/nats/names.ts';

type Given = {
  readonly prefix?: string;
  readonly subject?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  readonly sequence?: number;
  readonly timestampNanos?: number;
};

const JETSTREAM_TIME = Date.UTC(2026, 0, 31, 12);

function parse(given: Given): ParsedEvent | Rejection {
  const headers = new Map(Object.entries(given.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]));
  const names = natsNames(given.prefix);
  const message = {
    subject: given.subject ?? names.eventSubject('acme', 'conversation.created'),
    header: (name: string) => headers.get(name.toLowerCase()),
    body: Buffer.from(given.body ?? '{}'),
    sequence: given.sequence ?? 1,
    timestampNanos: given.timestampNanos ?? JETSTREAM_TIME * 1e6,
  };
  return parseEvent(message, names);
}

function event(given: Given): ParsedEvent {
  const parsed = parse(given);
  if (parsed.kind !== 'event') throw new Error(`rejected: ${parsed.reason} ${parsed.message}`);
  return parsed;
}

describe('a plain event', () => {
  it('takes tenant and type from the subject, the id from Nats-Msg-Id and the time from Occurred-At', () => {
    const headers = { 'Nats-Msg-Id': 'order-1', 'Occurred-At': '2026-01-30T08:00:00+01:00' };
    expect(event({ headers, body: '{"a":1}' })).toMatchObject({
      tenant: 'acme',
      type: 'conversation.created',
      eventId: 'order-1',
      occurredAt: new Date('2026-01-30T07:00:00Z'),
      data: Buffer.from('{"a":1}'),
    });
  });

  it('takes tenant and type from the subject after the prefix', () => {
    expect(event({ prefix: 'eu' })).toMatchObject({ tenant: 'acme', type: 'conversation.created' });
  });

  it('has the first existing id of Event-Id, Nats-Msg-Id and ce-id', () => {
    const cloud = { 'ce-specversion': '1.0', 'ce-id': 'c', 'ce-source': 's', 'ce-type': 't' };
    expect(event({ headers: { 'Event-Id': 'a', 'Nats-Msg-Id': 'b', ...cloud } }).eventId).toBe('a');
    expect(event({ headers: { 'Nats-Msg-Id': 'b', ...cloud } }).eventId).toBe('b');
    expect(event({ headers: cloud }).eventId).toBe('c');
  });

  it('has the id and time of its JetStream message if it has none', () => {
    const { id, eventId, occurredAt } = event({});
    expect(eventId).toBe(id);
    expect(occurredAt).toEqual(new Date(JETSTREAM_TIME));
  });

  it('has the same row id when its message is redelivered, and another when a sequence number is reused', () => {
    expect(event({}).id).toBe(event({}).id);
    expect(event({ timestampNanos: (JETSTREAM_TIME + 1) * 1e6 }).id).not.toBe(event({}).id);
    expect(event({ sequence: 2 }).id).not.toBe(event({}).id);
  });

  it.each(['1', 'null', '"text"', '[1]', ' {"a" : 1.0, "b":12345678901234567890} '])(
    'keeps the bytes of %s',
    (body) => {
      expect(event({ body }).data.toString()).toBe(body);
    },
  );

  it('may have data of exactly 1 MiB', () => {
    const body = `"${'x'.repeat(MAX_DATA_BYTES - 2)}"`;
    expect(event({ body }).data.length).toBe(MAX_DATA_BYTES);
  });
});

const binary = { 'ce-specversion': '1.0', 'ce-id': 'ce-1', 'ce-source': '/chat', 'ce-type': 'x' };

describe('a CloudEvent', () => {
  const structured = { 'content-type': 'application/cloudevents+json; charset=utf-8' };
  const envelope = '{"specversion":"1.0","id":"ce-1","source":"/chat","type":"x","time":"2026-01-30T07:00:00Z"';

  it('in binary mode has its id and time in headers and its data in the body', () => {
    const headers = { ...binary, 'ce-time': '2026-01-30T07%3A00%3A00Z' };
    const expected = { eventId: 'ce-1', occurredAt: new Date('2026-01-30T07:00:00Z'), data: Buffer.from('[1]') };
    expect(event({ headers, body: '[1]' })).toMatchObject(expected);
  });

  it('in structured mode has everything in the body, its data byte for byte', () => {
    const body = `${envelope},"data": {"n":1.0,  "s":"}\\"data\\":"} }`;
    const parsed = event({ headers: structured, body });
    expect(parsed).toMatchObject({ eventId: 'ce-1', occurredAt: new Date('2026-01-30T07:00:00Z') });
    expect(parsed.data.toString()).toBe('{"n":1.0,  "s":"}\\"data\\":"}');
  });

  it('finds its data among members with similar names', () => {
    const body = `{"x":{"data":1},"y":["data"],"\\u0064ata":42,"z":"data",${envelope.slice(1)}}`;
    expect(event({ headers: structured, body }).data.toString()).toBe('42');
  });

  it('may carry its data in base64, or none', () => {
    const base64 = Buffer.from('{"a":1}').toString('base64');
    expect(event({ headers: structured, body: `${envelope},"data_base64":"${base64}"}` }).data.toString()).toBe(
      '{"a":1}',
    );
    expect(event({ headers: structured, body: `${envelope}}` }).data.toString()).toBe('null');
  });

  it('treats attributes that are null as absent', () => {
    const nulls = '"time":null,"subject":null,"dataschema":null,"datacontenttype":null';
    const base = envelope.replace(/,"time".*/, '');
    const named = { ...structured, 'Occurred-At': '2026-01-29T07:00:00Z' };
    expect(event({ headers: named, body: `${base},${nulls},"data":1}` })).toMatchObject({
      occurredAt: new Date('2026-01-29T07:00:00Z'),
      data: Buffer.from('1'),
    });
    expect(event({ headers: structured, body: `${base},${nulls}}` }).occurredAt).toEqual(new Date(JETSTREAM_TIME));
  });

  it.each([
    ['"data":null', 'null'],
    ['"data":null,"data_base64":null', 'null'],
    ['"data_base64":null', 'null'],
    ['"data":{"a":1},"data_base64":null', '{"a":1}'],
    ['"data":null,"data_base64":"WzFd"', '[1]'],
  ])('with %s has the data %s', (members, data) => {
    expect(event({ headers: structured, body: `${envelope},${members}}` }).data.toString()).toBe(data);
  });

  it.each(['id', 'source', 'type', 'specversion'])('is rejected when its %s is null', (name) => {
    const body = JSON.stringify({ ...(JSON.parse(`${envelope}}`) as object), [name]: null });
    expect(parse({ headers: structured, body })).toMatchObject({
      reason: 'INVALID_CLOUD_EVENT',
    });
  });

  it('is rejected with the beginning of an unknown version', () => {
    const headers = { ...binary, 'ce-specversion': 'x'.repeat(1_000) };
    expect(parse({ headers, body: '{}' })).toMatchObject({
      message: `specversion must be 1.0, not "${'x'.repeat(20)}"`,
    });
  });

  it.each([
    ['an attribute is missing', { ...binary, 'ce-source': '' }, '{}'],
    ['the version is unknown', { ...binary, 'ce-specversion': '0.3' }, '{}'],
    ['a header is badly encoded', { ...binary, 'ce-id': '%E0%A4%A' }, '{}'],
    ['the envelope is not JSON', structured, '{'],
    ['the envelope is not an object', structured, '[]'],
    ['the data is not base64', structured, `${envelope},"data_base64":"!!!MQ==@@"}`],
    ['it has its data twice', structured, `${envelope},"data":1,"data_base64":"MQ=="}`],
    ['the time is a number', structured, `${envelope.replace('"2026-01-30T07:00:00Z"', '1')}}`],
    [
      'the envelope is not UTF-8',
      structured,
      Buffer.concat([Buffer.from(`${envelope},"data":"`), Buffer.from([0xff]), Buffer.from('"}')]),
    ],
    ['the format is not JSON', { 'content-type': 'application/cloudevents+avro' }, '{}'],
    ['it is a batch', { 'content-type': 'application/cloudevents-batch+json' }, '[]'],
  ])('is rejected when %s', (_, headers, body) => {
    expect(parse({ headers, body })).toMatchObject({ kind: 'rejected', reason: 'INVALID_CLOUD_EVENT', tenant: 'acme' });
  });
});

describe('a rejection', () => {
  it.each([
    ['INVALID_SUBJECT', { subject: 'events' }, undefined],
    ['INVALID_SUBJECT', { subject: 'eventsx.acme.created' }, undefined],
    ['INVALID_SUBJECT', { subject: 'orders.acme.created' }, undefined],
    ['INVALID_SUBJECT', { prefix: 'eu', subject: 'events.acme.created' }, undefined],
    ['INVALID_SUBJECT', { prefix: 'eu', subject: 'us.events.acme.created' }, undefined],
    ['INVALID_EVENT_ID', { headers: { 'Event-Id': '' } }, 'acme'],
    ['INVALID_SUBJECT', { subject: 'events.acme' }, 'acme'],
    ['INVALID_SUBJECT', { subject: 'events.ac:me.created' }, undefined],
    ['INVALID_SUBJECT', { subject: `events.${'a'.repeat(65)}.created` }, undefined],
    ['INVALID_SUBJECT', { subject: 'events.acme.cre@ted' }, 'acme'],
    ['INVALID_SUBJECT', { subject: `events.acme.${'a'.repeat(257)}` }, 'acme'],
    ['INVALID_JSON', { body: '' }, 'acme'],
    ['INVALID_JSON', { body: '{"a":1' }, 'acme'],
    ['INVALID_JSON', { body: Buffer.from([0x22, 0xff, 0x22]) }, 'acme'],
    ['TOO_LARGE', { body: `"${'x'.repeat(MAX_DATA_BYTES - 1)}"` }, 'acme'],
    ['INVALID_EVENT_ID', { headers: { 'Nats-Msg-Id': 'a b' } }, 'acme'],
    ['INVALID_EVENT_ID', { headers: { 'Nats-Msg-Id': 'a'.repeat(257) } }, 'acme'],
    ['INVALID_OCCURRED_AT', { headers: { 'Occurred-At': 'yesterday' } }, 'acme'],
    ['INVALID_OCCURRED_AT', { headers: { 'Occurred-At': '2026-01-30T07:00:00' } }, 'acme'],
    ['INVALID_OCCURRED_AT', { headers: { 'Occurred-At': '2026-13-30T07:00:00Z' } }, 'acme'],
    ['INVALID_OCCURRED_AT', { headers: { 'Occurred-At': '2026-02-30T07:00:00Z' } }, 'acme'],
    ['INVALID_OCCURRED_AT', { headers: { ...binary, 'ce-time': '2026-02-29T07:00:00Z' } }, 'acme'],
    ['INVALID_OCCURRED_AT', { headers: { 'Occurred-At': '9999-12-31T23:59:59-23:59' } }, 'acme'],
    ['INVALID_OCCURRED_AT', { headers: { 'Occurred-At': '0000-06-01T00:00:00Z' } }, 'acme'],
    ['INVALID_JSON', { body: '['.repeat(1_001) + ']'.repeat(1_001) }, 'acme'],
    [
      'TOO_LARGE',
      { headers: { 'content-type': 'application/cloudevents+json' }, body: 'x'.repeat(1.6 * MAX_DATA_BYTES) },
      'acme',
    ],
  ] as const)('has the reason %s for %j', (reason, given, tenant) => {
    expect(parse(given)).toMatchObject({ kind: 'rejected', reason, tenant });
  });

  it('reports unreadable headers', () => {
    const header = () => {
      throw new Error('BAD_HEADER');
    };
    const message = { subject: 'events.acme.a', header, body: Buffer.from('{}'), sequence: 1, timestampNanos: 1 };
    expect(parseEvent(message, natsNames())).toMatchObject({
      kind: 'rejected',
      reason: 'INVALID_HEADERS',
      tenant: 'acme',
    });
  });

  it('does not quote the data', () => {
    expect(JSON.stringify(parse({ body: '{"secret": tell-nobody}' }))).not.toContain('tell-nobody');
  });
});
