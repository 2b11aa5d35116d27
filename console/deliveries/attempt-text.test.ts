import { expect, test } from 'vitest';
import { attemptText } from './attempt-text.ts';

const ATTEMPT = {
  url: 'https://example.com/',
  requestHeaders: { 'webhook-id': 'a' },
  statusCode: 503,
  responseTimeMs: 12,
  responseHeaders: { 'retry-after': '5' },
  responseBody: '{"error":"busy"}',
};
const HEAD = 'POST https://example.com/\nwebhook-id: a\n\n';

test('request and response are lines, JSON has one for each member', () => {
  const text = `${HEAD}HTTP 503\n12 ms\nretry-after: 5\n\n{\n  "error": "busy"\n}`;
  expect(attemptText(ATTEMPT, false)).toBe(text);
  expect(attemptText(ATTEMPT, true)).toBe(text.replace('busy', '•••'));
});

test('a body that is no JSON is hidden as a whole, and an empty one has no line', () => {
  expect(attemptText({ ...ATTEMPT, responseBody: 'secret' }, true)).not.toContain('secret');
  expect(attemptText({ ...ATTEMPT, responseBody: 'not\nhidden' }, false)).toMatch(/\n\nnot\nhidden$/);
  expect(attemptText({ ...ATTEMPT, responseBody: '' }, false)).toMatch(/retry-after: 5$/);
});

test('a deeply nested body is not indented', () => {
  const nested = '['.repeat(10_000) + ']'.repeat(10_000);
  expect(attemptText({ ...ATTEMPT, responseBody: nested }, false)).toMatch(/\n\n\[{10000}\]{10000}$/);
});

test('an attempt without a response has the error in its place', () => {
  const failed = { ...ATTEMPT, statusCode: null, errorMessage: 'connect ECONNREFUSED', responseHeaders: null };
  expect(attemptText({ ...failed, responseBody: null }, false)).toBe(
    `${HEAD}No response was received.\n12 ms\nconnect ECONNREFUSED`,
  );
});
