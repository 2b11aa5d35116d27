import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createMessageSeal } from '../../src/nats/names.ts';

const KEY = randomBytes(32).toString('base64');
const SUBJECT = 'deliveries.one';
const { seal, open } = createMessageSeal(KEY);

describe('a sealed message', () => {
  it.each([['a body'], [''], ['{"a":1}\n{}']])('of %j is opened by every process that has the key', (body) => {
    const sealed = seal(SUBJECT, Buffer.from(body));
    expect(createMessageSeal(KEY).open(SUBJECT, new Uint8Array(sealed))?.toString()).toBe(body);
  });

  it.each<[string, string, (sealed: Buffer) => Buffer]>([
    ['on another subject', 'deliveries.two', (sealed) => sealed],
    ['on a subject extended by part of its body', `${SUBJECT}\na`, (sealed) => sealed],
    ['with another body', SUBJECT, (sealed) => Buffer.concat([sealed, Buffer.from('x')])],
    [
      'with another line break after the first line',
      SUBJECT,
      (sealed) => Buffer.from(sealed.toString().replace('\n', ' ')),
    ],
    ['with a shorter body', SUBJECT, (sealed) => sealed.subarray(0, -1)],
    ['without its first line', SUBJECT, (sealed) => sealed.subarray(44)],
    ['that is only part of a first line', SUBJECT, (sealed) => sealed.subarray(0, 43)],
    ['that is empty', SUBJECT, () => Buffer.alloc(0)],
  ])('%s is not opened', (_, subject, change) => {
    expect(open(subject, change(seal(SUBJECT, Buffer.from('a body'))))).toBeUndefined();
  });

  it('is not opened with another key', () => {
    const other = createMessageSeal(randomBytes(32).toString('base64'));
    expect(other.open(SUBJECT, seal(SUBJECT, Buffer.from('a body')))).toBeUndefined();
  });

  it('is sealed with the first key, and opened with every key', () => {
    const newKey = randomBytes(32).toString('base64');
    const rotating = createMessageSeal(newKey, KEY);
    const body = Buffer.from('a body');
    expect(rotating.open(SUBJECT, seal(SUBJECT, body))).toEqual(body);
    expect(createMessageSeal(newKey).open(SUBJECT, rotating.seal(SUBJECT, body))).toEqual(body);
    expect(open(SUBJECT, rotating.seal(SUBJECT, body))).toBeUndefined();
  });
});
