import { expect, test } from 'vitest';
import { readReceivedHeaders } from './received-headers.ts';

const SIGNATURE = 'v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4= v1,AAAA';
const EXPECTED = { webhookId: 'evt 1', webhookTimestamp: '1700000000', webhookSignature: SIGNATURE };

test('headers are read from lines, in any case, with others between them', () => {
  const text = `Host: example.com\nWebhook-Id: evt 1\r\nwebhook-timestamp:1700000000\nWEBHOOK-SIGNATURE:  ${SIGNATURE}  \n`;
  expect(readReceivedHeaders(text)).toEqual({ headers: EXPECTED, missing: [] });
  expect(readReceivedHeaders(text.replaceAll(/^/gm, '> ')).headers).toEqual(EXPECTED);
});

test('headers are read from JSON, in one line or several, also with lists of values', () => {
  const headers = { 'webhook-id': 'evt 1', 'webhook-timestamp': '1700000000', 'webhook-signature': SIGNATURE };
  expect(readReceivedHeaders(JSON.stringify(headers, undefined, 2)).headers).toEqual(EXPECTED);
  expect(readReceivedHeaders(JSON.stringify(headers)).headers).toEqual(EXPECTED);
  const lists = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]));
  expect(readReceivedHeaders(JSON.stringify(lists)).headers).toEqual(EXPECTED);
});

test('what is missing is named', () => {
  expect(readReceivedHeaders('webhook-id: 1').missing).toEqual(['webhook-timestamp', 'webhook-signature']);
  expect(readReceivedHeaders('').missing).toHaveLength(3);
});
