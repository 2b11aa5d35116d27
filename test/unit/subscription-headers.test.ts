import { describe, expect, it } from 'vitest';
import { completeHeaders, type GivenHeader, problemsOfHeaders } from '../../src/subscriptions/headers.ts';

const NONE = new Map<string, string>();

function problemsOf(headers: readonly GivenHeader[], stored = NONE): string {
  return problemsOfHeaders(headers, stored)
    .map(({ message }) => message)
    .join('; ');
}

const numbered = (count: number, value: string) =>
  Array.from({ length: count }, (_, index) => ({ name: `x-${index}`, value }));

describe('custom headers', () => {
  it.each([
    ['Authorization', 'Bearer abc'],
    ['X-Api-Key', '~!@#$%^&*()_+ {}|:"<>?'],
    ['x-tenant', 'a'],
    ["!#$%&'*+.^_`|~-0aZ", 'any token is a name'],
    ['x'.repeat(128), 'longest name'],
    ['x', 'v'.repeat(4_095)],
    ['hostname', 'not host'],
    ['iffy', 'not if-'],
    ['contents', 'not content-'],
    ['x_tenant.id', 'a name of its own'],
    ['prototypes', 'not prototype'],
  ])('accepts %s', (name, value) => {
    expect(problemsOf([{ name, value }])).toBe('');
  });

  it('accepts no headers, and up to 20', () => {
    expect(problemsOf([])).toBe('');
    expect(problemsOf(numbered(20, 'v'))).toBe('');
    expect(problemsOf(numbered(21, 'v'))).toBe('at most 20 headers are possible');
  });

  it.each([
    ...[
      'host',
      'Connection',
      'keep-alive',
      'TE',
      'trailer',
      'transfer-encoding',
      'upgrade',
      'expect',
      'http2-settings',
    ],
    ...['content-length', 'Content-Type', 'content-encoding', 'content-anything', 'proxy-authorization', 'proxy-x'],
    ...['date', 'via', 'forwarded', 'X-Forwarded-For', 'x-real-ip', 'range', 'if-none-match', 'accept-encoding'],
    ...['user-agent', 'cookie', 'set-cookie', 'sec-fetch-mode'],
    ...['webhook-id', 'Webhook-Signature', 'webhook-anything', 'x-hub-signature', 'X-Hub-Signature-256', 'svix-id'],
    ...['Metadata', 'Metadata-Flavor', 'X-aws-ec2-metadata-token', 'X-aws-ec2-metadata-token-ttl-seconds'],
    ...['webhook_signature', 'Webhook_Id', 'webhook.id', 'x_hub_signature_256', 'X_Forwarded_For', 'x.forwarded.for'],
    ...['transfer_encoding', 'Content_Length', 'content~type', 'user_agent', 'x_amz_security_token', 'Metadata_Flavor'],
    ...[
      'Proxy',
      'x-forwarded',
      'X-Original-URL',
      'x_http_method_override',
      'True-Client-IP',
      'set_cookie',
      'keep_alive',
    ],
    ...['__proto__', '__PROTO__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '__defineGetter__'],
    ...['x-amz-security-token', 'x-google-metadata-request', 'x-goog-x', 'x-ms-version', 'x-azure-x'],
  ])('rejects %s, which is reserved', (name) => {
    expect(problemsOf([{ name, value: 'v' }])).toBe(`"${name}" cannot be set`);
  });

  it.each(['', ' ', 'a b', 'a:', ':authority', 'ä', 'a\r\nb', 'a\0', '(a)', 'x'.repeat(129)])(
    'rejects the name %j',
    (name) => {
      expect(problemsOf([{ name, value: 'v' }])).toContain('is not a valid header name');
    },
  );

  it.each([
    ['', 'has no value'],
    ['a\r\nx-evil: 1', 'printable ASCII'],
    ['a\nb', 'printable ASCII'],
    ['a\0', 'printable ASCII'],
    ['a\tb', 'printable ASCII'],
    ['a\x7f', 'printable ASCII'],
    ['ä', 'printable ASCII'],
    ['🎉', 'printable ASCII'],
    [' a', 'spaces at its ends'],
    ['a ', 'spaces at its ends'],
    ['a\n', 'printable ASCII'],
    ['v'.repeat(4_097), 'more than 4096 bytes'],
  ])('rejects the value %j', (value, part) => {
    expect(problemsOf([{ name: 'x', value }])).toContain(part);
  });

  it('rejects names that differ only in case', () => {
    const problems = problemsOf([
      { name: 'X-Key', value: 'a' },
      { name: 'x-key', value: 'b' },
    ]);
    expect(problems).toBe('"x-key" is given more than once');
  });

  it.each([
    ['X-Key', 'x_key'],
    ['x.key', 'x-key'],
  ])('rejects %s beside %s, which some servers treat as the same name', (one, other) => {
    const problems = problemsOf([one, other].map((name) => ({ name, value: 'v' })));
    expect(problems).toBe(`"${other}" is given more than once`);
  });

  it('rejects more than 4 KiB in total', () => {
    expect(problemsOf(numbered(4, 'v'.repeat(1_021)))).toBe('');
    expect(problemsOf(numbered(4, 'v'.repeat(1_022)))).toBe('all names and values together exceed 4096 bytes');
  });

  it('reports all problems together, and no value', () => {
    const problems = problemsOf([
      { name: 'host', value: 'geheim' },
      { name: 'x-a', value: 'geheim\n' },
      { name: 'b c', value: 'geheim' },
    ]);
    expect(problems.split('; ')).toHaveLength(3);
    expect(problems).not.toContain('geheim');
  });

  it('reports each problem at its path', () => {
    const headers = [{ name: 'x-fine', value: 'v' }, { name: 'host', value: ' ' }, { name: 'x-a' }];
    expect(problemsOfHeaders(headers, NONE)).toEqual([
      { path: 'headers.1.name', message: '"host" cannot be set', code: 'INVALID_HEADERS' },
      {
        path: 'headers.1.value',
        message: expect.stringContaining('spaces at its ends') as unknown,
        code: 'INVALID_HEADERS',
      },
      { path: 'headers.2.value', message: '"x-a" has no value', code: 'INVALID_HEADERS' },
    ]);
    expect(problemsOfHeaders(numbered(21, 'v'), NONE)).toMatchObject([{ path: 'headers' }]);
    expect(problemsOfHeaders(numbered(4, 'v'.repeat(1_022)), NONE)).toMatchObject([{ path: 'headers' }]);
  });

  it('without a value keep the stored value, in any case of their name', () => {
    const stored = new Map([
      ['x-key', 'kept'],
      ['x-other', 'dropped'],
    ]);
    const headers = [
      { name: 'X-Key', value: null },
      { name: 'x-new', value: 'given' },
    ];
    expect(problemsOf(headers, stored)).toBe('');
    expect(completeHeaders(headers, stored)).toEqual([
      { name: 'X-Key', value: 'kept' },
      { name: 'x-new', value: 'given' },
    ]);
    expect(problemsOf([{ name: 'x-key', value: '' }], stored)).toBe('"x-key" has no value');
    // Stored values count towards the limit.
    const large = new Map([['x-key', 'v'.repeat(4_000)]]);
    expect(problemsOf([{ name: 'x-key' }, { name: 'x-b', value: 'v'.repeat(100) }], large)).toContain('exceed 4096');
  });
});
