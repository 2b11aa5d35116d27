import { describe, expect, it } from 'vitest';
import { BlockedTargetError } from '../../src/delivery/http/egress-policy.ts';
import { failureOfError } from '../../src/delivery/http/failures.ts';
import { createResponseBody, failureReasonOf } from '../../src/delivery/http/request.ts';
import { DnsFailureError } from '../../src/delivery/http/resolver.ts';

describe('failureReasonOf', () => {
  it.each([
    [200, undefined],
    [204, undefined],
    [299, undefined],
    [300, 'REDIRECT'],
    [302, 'REDIRECT'],
    [399, 'REDIRECT'],
    [400, 'HTTP_STATUS'],
    [410, 'HTTP_STATUS'],
    [599, 'HTTP_STATUS'],
  ])('of the status %d is %s', (statusCode, reason) => {
    const outcome = {
      kind: 'response',
      statusCode,
      headers: {},
      body: '',
      bodyTruncated: false,
      responseTimeMs: 1,
    } as const;
    expect(failureReasonOf(outcome)).toBe(reason);
  });

  it('a failure keeps its reason', () => {
    expect(failureReasonOf({ kind: 'failure', reason: 'DNS_FAILURE', message: '', responseTimeMs: 1 })).toBe(
      'DNS_FAILURE',
    );
  });
});

const coded = (code: string) => Object.assign(new Error('connect 10.0.0.1:5432 geheim'), { code });
const wrapped = (cause: Error) => new Error('wrapped geheim', { cause });

describe('failureOfError', () => {
  it.each([
    [new BlockedTargetError('not reachable from the internet'), 'BLOCKED_TARGET'],
    [new DnsFailureError('ENOTFOUND'), 'DNS_FAILURE'],
    // The error of c-ares when a name server refuses the query: not an error of the receiver.
    [new DnsFailureError('ECONNREFUSED'), 'DNS_FAILURE'],
    [coded('ECONNREFUSED'), 'CONNECTION_REFUSED'],
    [coded('ECONNRESET'), 'CONNECTION_RESET'],
    [coded('EPIPE'), 'CONNECTION_RESET'],
    [coded('ETIMEDOUT'), 'TIMEOUT'],
    [coded('EHOSTUNREACH'), 'UNREACHABLE'],
    [coded('ENETUNREACH'), 'UNREACHABLE'],
    [coded('HPE_INVALID_CONSTANT'), 'INVALID_RESPONSE'],
    [coded('HPE_HEADER_OVERFLOW'), 'INVALID_RESPONSE'],
    [coded('CERT_HAS_EXPIRED'), 'TLS_FAILURE'],
    [coded('ERR_TLS_CERT_ALTNAME_INVALID'), 'TLS_FAILURE'],
    [coded('CERT_SIGNATURE_FAILURE'), 'TLS_FAILURE'],
    [coded('INVALID_CA'), 'TLS_FAILURE'],
    [coded('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'), 'TLS_FAILURE'],
    [coded('EPROTO'), 'TLS_FAILURE'],
    [coded('ERR_INVALID_CHAR'), 'INVALID_REQUEST'],
    [coded('ERR_INVALID_URL'), 'INVALID_REQUEST'],
    [coded('EMFILE'), 'OTHER'],
    [new TypeError('geheim'), 'OTHER'],
  ])('%o is %s, wrapped or not, and hides the original text', (error, reason) => {
    for (const failure of [failureOfError(error), failureOfError(wrapped(error))]) {
      expect(failure.reason).toBe(reason);
      expect(failure.message).not.toMatch(/geheim|10\.0/);
      expect(failure.message.length).toBeGreaterThan(10);
    }
  });
});

describe('createResponseBody', () => {
  it('keeps 20,000 bytes and reports when there were more', () => {
    const body = createResponseBody();
    expect(body.add(Buffer.alloc(19_999, 'a'))).toBe(true);
    expect(body.add(Buffer.from('b'))).toBe(true);
    expect(body.add(Buffer.from('c'))).toBe(false);
    expect(body.text({ complete: false })).toBe(`${'a'.repeat(19_999)}b`);
  });

  it('drops a character that the limit cuts, and shows an invalid one', () => {
    const body = createResponseBody();
    body.add(Buffer.from('aä').subarray(0, 2));
    expect(body.text({ complete: false })).toBe('a');
    expect(body.text({ complete: true })).toBe('a\uFFFD');
  });

  it('joins a character received in two chunks, and replaces NUL', () => {
    const body = createResponseBody();
    const bytes = Buffer.from('ä\0');
    body.add(bytes.subarray(0, 1));
    body.add(bytes.subarray(1));
    expect(body.text({ complete: true })).toBe('ä\uFFFD');
  });
});
