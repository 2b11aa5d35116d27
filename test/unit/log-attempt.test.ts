import { pino } from 'pino';
import { expect, it } from 'vitest';
import { NO_TRACE } from '../../src/delivery/http/request.ts';
import type { NewAttempt } from '../../src/delivery/sending/attempt.ts';
import { logAttempt } from '../../src/delivery/sending/attempt-metrics.ts';

const ATTEMPT: NewAttempt = {
  deliveryId: 'delivery',
  subscriptionId: 'subscription',
  tenant: 'acme',
  eventType: 'order.paid',
  number: 1,
  status: 'SUCCESS',
  failureReason: null,
  statusCode: 200,
  responseTimeMs: 12,
  startedAt: new Date(0),
  url: 'https://example.com/',
  ...NO_TRACE,
  requestHeaders: {},
  responseHeaders: {},
  responseBody: '',
  responseBodyTruncated: false,
  errorMessage: null,
  payloadSizeBytes: 2,
  signingSecretIds: [],
  isTest: false,
};
const FAILED: NewAttempt = { ...ATTEMPT, status: 'FAILURE', failureReason: 'HTTP_STATUS', statusCode: 500 };

it.each([
  ['all', ['success', 'failure']],
  ['failures', ['failure']],
  ['none', []],
] as const)('LOG_ATTEMPTS=%s logs %j', (logAttempts, expected) => {
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(line) });
  logAttempt({ log, logAttempts }, { attempt: ATTEMPT, decision: { kind: 'success' } });
  logAttempt({ log, logAttempts }, { attempt: FAILED, decision: { kind: 'failure' } });
  expect(lines.map((line) => (JSON.parse(line) as { readonly next: string }).next)).toEqual(expected);
});
