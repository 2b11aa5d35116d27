import { expect, test, vi } from 'vitest';
import { isTooNested, MAX_DATA_BYTES, parseData, parseEvent, problemOfData } from '../../src/events/parse.ts';
import { memberText, nestingOf } from '../../src/lib/json.ts';
import { natsNames } from '../../src/nats/names.ts';
import { encodeEventData } from '../../src/schema/publish-event.ts';
import { leastCpuMs } from '../support/cpu-time.ts';

const BRACKETS = `[${'[],'.repeat(MAX_DATA_BYTES / 3 - 2)}[]]`;
const SENT = { subject: 'events.acme.created', sequence: 1, timestampNanos: 1 };

test.each([
  ['1', 0],
  ['[]', 1],
  ['{"a":[{"b":[]}]}', 4],
  ['"[[["', 0],
  ['["\\"[[",["\\\\"]]', 2],
  ['[[],[[]],[]]', 3],
])('%s is nested %i levels deep', (json, depth) => {
  expect(nestingOf(json)).toBe(depth);
});

test('the nesting of a megabyte of brackets is counted in a few milliseconds', () => {
  expect(leastCpuMs(() => isTooNested(BRACKETS), 10)).toBeLessThan(30);
  const deep = Buffer.from('['.repeat(MAX_DATA_BYTES / 2) + ']'.repeat(MAX_DATA_BYTES / 2));
  expect(problemOfData(deep)).toEqual({ reason: 'INVALID_JSON', message: 'is nested deeper than 1000 levels' });
  expect(leastCpuMs(() => problemOfData(deep), 10)).toBeLessThan(30);
});

test('a member is found among a megabyte of brackets in a few milliseconds', () => {
  const json = `{"x":${BRACKETS},"data": {"a":"]}"} ,"y":"data"}`;
  expect(memberText(json, 'data')).toBe('{"a":"]}"}');
  expect(memberText(json, 'z')).toBeUndefined();
  expect(leastCpuMs(() => memberText(json, 'data'), 10)).toBeLessThan(60);
});

test('the data of an event is parsed once, however often its value is read', () => {
  const parse = vi.spyOn(JSON, 'parse');
  const event = parseEvent({ ...SENT, header: () => undefined, body: Buffer.from('{"n":1}') }, natsNames());
  const headers = new Map([['content-type', 'application/cloudevents+json']]);
  const envelope = '{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"n":2}}';
  const cloudEvent = parseEvent(
    { ...SENT, header: (name) => headers.get(name), body: Buffer.from(envelope) },
    natsNames(),
  );
  const values = [event, cloudEvent, event, cloudEvent].map((one) => one.kind === 'event' && parseData(one.data));
  expect(values).toEqual([{ n: 1 }, { n: 2 }, { n: 1 }, { n: 2 }]);
  const texts = parse.mock.calls.map(([text]) => text).filter((text) => text.startsWith('{'));
  expect(texts).toEqual(['{"n":1}', envelope]);
  parse.mockRestore();
});

test('a GraphQL value is serialized once for all fields that return it, and not parsed', async () => {
  const compute = <T>(piece: () => T) => Promise.resolve(piece());
  const [parse, stringify] = [vi.spyOn(JSON, 'parse'), vi.spyOn(JSON, 'stringify')];
  const value = { n: [1, 'ä'] };
  const [first, second] = await Promise.all([encodeEventData(compute, value), encodeEventData(compute, value)]);
  expect(second).toBe(first);
  expect(first.data?.toString()).toBe('{"n":[1,"ä"]}');
  expect(first.data && parseData(first.data)).toBe(value);
  expect([parse.mock.calls.length, stringify.mock.calls.length]).toEqual([0, 1]);
  parse.mockRestore();
  stringify.mockRestore();
});
