import { ProxyError } from './dial.ts';
import { BlockedTargetError } from './egress-policy.ts';
import type { FailureOutcome } from './request.ts';
import { DnsFailureError, MAX_ADDRESSES } from './resolver.ts';

export type Failure = Pick<FailureOutcome, 'reason' | 'message'>;

const CERTIFICATE_MESSAGES: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'the certificate has expired',
  CERT_NOT_YET_VALID: 'the certificate is not valid yet',
  CERT_REVOKED: 'the certificate was revoked',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate chain ends in a self-signed certificate',
  UNABLE_TO_GET_ISSUER_CERT: 'the certificate chain is incomplete',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate comes from an unknown authority, or its chain is incomplete',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate comes from an unknown authority, or its chain is incomplete',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate is for another host name',
};

const CONNECTION_FAILURES: Readonly<Record<string, Failure>> = {
  ECONNREFUSED: { reason: 'CONNECTION_REFUSED', message: 'the connection was refused' },
  ECONNRESET: { reason: 'CONNECTION_RESET', message: 'the connection was closed before a response came' },
  ECONNABORTED: { reason: 'CONNECTION_RESET', message: 'the connection was closed before a response came' },
  EPIPE: { reason: 'CONNECTION_RESET', message: 'the connection was closed before the request was sent' },
  ETIMEDOUT: { reason: 'TIMEOUT', message: 'no connection was established in time' },
  ...each(
    ['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EACCES', 'EPERM'],
    {
      reason: 'UNREACHABLE',
      message: 'there is no route to the host',
    },
  ),
  ...each(
    [
      'ERR_INVALID_CHAR',
      'ERR_INVALID_HTTP_TOKEN',
      'ERR_HTTP_INVALID_HEADER_VALUE',
      'ERR_UNESCAPED_CHARACTERS',
      'ERR_INVALID_URL',
      'ERR_UNSUPPORTED_PROTOCOL',
      'ERR_INVALID_PROTOCOL',
    ],
    { reason: 'INVALID_REQUEST', message: 'the URL or a header of the subscription cannot be sent' },
  ),
};

/** Classifies an error before the response; the messages listed here replace its text. */
export function failureOfError(error: unknown): Failure {
  const cause = rootOf(error);
  const code = codeOf(cause) ?? codeOf(error) ?? '';
  if (cause instanceof BlockedTargetError) return { reason: 'BLOCKED_TARGET', message: cause.message };
  if (cause instanceof DnsFailureError) return { reason: 'DNS_FAILURE', message: dnsMessage(cause.dnsCode) };
  if (cause instanceof ProxyError) return { reason: cause.reason, message: cause.message };
  if (code.startsWith('HPE_')) return { reason: 'INVALID_RESPONSE', message: parserMessage(code) };
  const certificate = CERTIFICATE_MESSAGES[code];
  if (certificate !== undefined) return { reason: 'TLS_FAILURE', message: certificate };
  const known = CONNECTION_FAILURES[code];
  if (known !== undefined) return known;
  if (/^(?:ERR_TLS_|ERR_SSL_|EPROTO$)/.test(code))
    return { reason: 'TLS_FAILURE', message: 'the TLS handshake failed' };
  // OpenSSL's names for other problems with a certificate.
  if (/CERT|^CRL_|SIGNATURE|^INVALID_(?:CA|PURPOSE)$|^PATH_LENGTH_EXCEEDED$|^HOSTNAME_MISMATCH$/.test(code)) {
    return { reason: 'TLS_FAILURE', message: 'the certificate is not valid' };
  }
  return { reason: 'OTHER', message: 'the request could not be sent' };
}

function each(codes: readonly string[], failure: Failure): Record<string, Failure> {
  return Object.fromEntries(codes.map((code) => [code, failure]));
}

/** got wraps the original error. */
function rootOf(error: unknown): unknown {
  return error instanceof Error && error.cause instanceof Error ? error.cause : error;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

function dnsMessage(dnsCode: string): string {
  if (dnsCode === 'ENOTFOUND') return 'the host name does not exist';
  if (dnsCode === 'ENODATA') return 'the host name has no address';
  if (dnsCode === 'ETOOMANY') return `the host name has more than ${MAX_ADDRESSES} addresses`;
  if (dnsCode === 'ETIMEOUT') return 'the name servers of the host did not answer in time';
  return 'the host name could not be resolved';
}

function parserMessage(code: string): string {
  return code === 'HPE_HEADER_OVERFLOW'
    ? 'the response has more than 16 KiB of headers'
    : 'the response is not valid HTTP';
}

export function timeoutFailure(phase: 'resolve' | 'connect' | 'handshake' | 'respond', timeoutMs: number): Failure {
  const missing = {
    resolve: 'the host name was not resolved',
    connect: 'no connection',
    handshake: 'no TLS handshake',
    respond: 'no response',
  };
  return { reason: 'TIMEOUT', message: `${missing[phase]} within ${timeoutMs} ms` };
}
