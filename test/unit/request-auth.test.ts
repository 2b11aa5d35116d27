import { verify } from '@octokit/webhooks-methods';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { authenticateRequest, combineAuth, signingHeaders } from '../../src/delivery/sending/request-auth.ts';
import { generateSigningSecret } from '../../src/subscriptions/secrets.ts';

const body = Buffer.from('{"name":"Jürgen 🎉","n":1.0}');
const timestampSeconds = Math.floor(Date.now() / 1_000);

describe('signingHeaders', () => {
  it('creates headers that the Standard Webhooks library verifies', () => {
    const secret = generateSigningSecret();
    const headers = signingHeaders({ secrets: [secret], eventId: 'evt_1', timestampSeconds, body });
    expect(new Webhook(secret).verify(body, { ...headers })).toEqual(JSON.parse(body.toString()));
    expect(() => new Webhook(generateSigningSecret()).verify(body, { ...headers })).toThrow('No matching signature');
    expect(() => new Webhook(secret).verify(`${body.toString()} `, { ...headers })).toThrow('No matching signature');
    expect(() => new Webhook(secret).verify(body, { ...headers, 'webhook-id': 'evt_2' })).toThrow();
  });

  it('creates a header that the GitHub library verifies with the secret as shown', async () => {
    const secret = generateSigningSecret();
    const headers = signingHeaders({ secrets: [secret], eventId: 'evt_1', timestampSeconds, body });
    const signature = headers['X-Hub-Signature-256'];
    expect(await verify(secret, body.toString(), signature)).toBe(true);
    expect(await verify(secret.slice('whsec_'.length), body.toString(), signature)).toBe(false);
    expect(await verify(secret, `${body.toString()} `, signature)).toBe(false);
  });

  it('signs with every secret, the current one first, so that both verify during a rotation', () => {
    const [current, older] = [generateSigningSecret(), generateSigningSecret()];
    const headers = signingHeaders({ secrets: [current, older], eventId: 'evt_1', timestampSeconds, body });
    for (const secret of [current, older]) new Webhook(secret).verify(body, { ...headers });
    const alone = signingHeaders({ secrets: [current], eventId: 'evt_1', timestampSeconds, body });
    expect(headers['webhook-signature'].split(' ')).toHaveLength(2);
    expect(headers['webhook-signature'].split(' ')[0]).toBe(alone['webhook-signature']);
    expect(headers['X-Hub-Signature-256']).toBe(alone['X-Hub-Signature-256']);
  });

  it('signs bytes that are not UTF-8 as they are', () => {
    const secret = generateSigningSecret();
    const sign = (bytes: number[]) =>
      signingHeaders({ secrets: [secret], eventId: 'e', timestampSeconds, body: Buffer.from(bytes) });
    expect(sign([0xff])['webhook-signature']).not.toBe(sign([0xfe])['webhook-signature']);
    expect(sign([0xff])['X-Hub-Signature-256']).not.toBe(sign([0xfe])['X-Hub-Signature-256']);
  });

  it('matches a value computed by hand, so that no two errors cancel out', () => {
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    const headers = signingHeaders({
      secrets: [secret],
      eventId: 'evt_1',
      timestampSeconds: 1_700_000_000,
      body: Buffer.from('{"a":1}'),
    });
    expect(headers).toEqual({
      'webhook-id': 'evt_1',
      'webhook-timestamp': '1700000000',
      'webhook-signature': 'v1,LD23cPhYO0Vr+7BYB9TpqKHMIUwtb1s91EEyjYfBh+s=',
      'X-Hub-Signature-256': 'sha256=5e311a3de1d034f7795443197f92801512827c7024b3fb51f95840bd250f1dcc',
    });
  });
});

describe('generateSigningSecret', () => {
  it('is whsec_ and 32 random bytes', () => {
    const secret = generateSigningSecret();
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(generateSigningSecret()).not.toBe(secret);
  });
});

describe('combineAuth', () => {
  const request = { subscription: { id: 's', url: 'https://example.com', headers: {} }, eventId: 'e', body };
  const signed = {
    ...request,
    secrets: [{ id: 'k', secret: generateSigningSecret(), expiresAt: undefined }] as const,
    startedAt: new Date(timestampSeconds * 1_000 + 999),
  };

  it('merges headers in order, including fetched ones', async () => {
    const authenticate = combineAuth([
      () => ({ a: '1', b: '1' }),
      () => Promise.resolve({ b: '2' }),
      () => ({ c: '3' }),
    ]);
    expect(await authenticate(signed)).toEqual({ a: '1', b: '2', c: '3' });
  });

  it('rejects when one of them cannot authenticate', async () => {
    const authenticate = combineAuth([() => ({ a: '1' }), () => Promise.reject(new Error('no token'))]);
    await expect(Promise.resolve(authenticate(signed))).rejects.toThrow('no token');
  });

  it('sends custom headers and signatures of the whole second, and no custom header replaces a signature', async () => {
    const headers = { authorization: 'Bearer t', 'webhook-id': 'forged' };
    const sent = await authenticateRequest({ ...signed, subscription: { ...signed.subscription, headers } });
    expect(sent).toMatchObject({
      authorization: 'Bearer t',
      'webhook-id': 'e',
      'webhook-timestamp': `${timestampSeconds}`,
    });
    new Webhook(signed.secrets[0].secret).verify(body, { ...sent });
  });
});
