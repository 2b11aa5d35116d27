import { describe, expect, it } from 'vitest';
import { redactRequestHeaders, redactResponseHeaders } from '../../src/delivery/sending/attempt.ts';

const REDACTED = '[redacted]';

describe('redactRequestHeaders', () => {
  it("shows the engine's own headers but no signature", () => {
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'webhooks-engine/1',
      'webhook-id': 'evt_1',
      'webhook-timestamp': '1',
      'webhook-event': 'order.created',
      'webhook-delivery': 'd',
      'webhook-attempt': '1',
    };
    const signatures = { 'webhook-signature': 'v1,x', 'X-Hub-Signature-256': 'sha256=x' };
    expect(redactRequestHeaders({ ...headers, ...signatures }, [])).toEqual({
      ...headers,
      'webhook-signature': REDACTED,
      'X-Hub-Signature-256': REDACTED,
    });
  });

  it('shows that a custom header was sent, in any case of its name, and not its value', () => {
    expect(redactRequestHeaders({ 'X-Shop': 'geheim', 'x-other': 'geheim' }, ['x-shop', 'X-OTHER'])).toEqual({
      'X-Shop': REDACTED,
      'x-other': REDACTED,
    });
  });
});

describe('redactResponseHeaders', () => {
  it.each([
    ...[
      'set-cookie',
      'Set-Cookie',
      'authorization',
      'proxy-authorization',
      'x-api-key',
      'X-Auth-Token',
      'x-csrf-token',
    ],
    ...[
      'client-secret',
      'x-signature',
      'x-amz-credential',
      'db-password',
      'x-session-id',
      'apikey',
      'x-access-key',
      'x-auth',
    ],
  ])('hides %s', (name) => {
    expect(redactResponseHeaders({ [name]: 'geheim' })).toEqual({ [name]: REDACTED });
  });

  it.each([
    'content-type',
    'date',
    'server',
    'retry-after',
    'location',
    'etag',
    'x-request-id',
    'keep-alive',
    'x-author',
  ])('shows %s', (name) => {
    expect(redactResponseHeaders({ [name]: 'value' })).toEqual({ [name]: 'value' });
  });

  it('keeps 64 headers', () => {
    const headers = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`x-${index}`, 'v']));
    const shown = redactResponseHeaders(headers);
    expect(Object.keys(shown)).toHaveLength(64);
    expect(shown).not.toHaveProperty('x-64');
  });

  it('keeps 16 KiB', () => {
    const headers = { a: 'v'.repeat(8_191), b: 'v'.repeat(8_191), c: '' };
    expect(Object.keys(redactResponseHeaders(headers))).toEqual(['a', 'b']);
  });

  it('accepts a header named __proto__', () => {
    // `as`: the text is an object of strings.
    const headers: Record<string, string> = JSON.parse('{"__proto__":"v","x":"v"}') as Record<string, string>;
    expect(Object.entries(redactResponseHeaders(headers))).toEqual([
      ['__proto__', 'v'],
      ['x', 'v'],
    ]);
  });
});
