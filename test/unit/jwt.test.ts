import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createVerifyJwt } from '../../src/auth/jwt.ts';

/** Long enough for HS512. */
const SECRET = 'a secret of at least thirty-two characters, in fact of more than sixty-four';
const CLAIMS = { tenant: 'acme', scope: 'TENANT_READ', exp: inSeconds(600) };
const lines: string[] = [];
const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) });
const verify = createVerifyJwt({ secret: SECRET }, log);

function inSeconds(seconds: number): number {
  return Math.floor(Date.now() / 1_000) + seconds;
}

function sign(claims: Record<string, unknown>, { alg = 'HS256', secret = SECRET } = {}): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret));
}

test('a JWT contains the tenant, the scope and the time of its expiry', async () => {
  expect(await verify(await sign(CLAIMS))).toEqual({
    tenant: 'acme',
    scope: 'TENANT_READ',
    expiresAt: new Date((CLAIMS.exp + 5) * 1_000),
    credentialId: expect.stringMatching(/^jwt:[\w-]{43}$/) as string,
  });
});

test.each<[string | readonly unknown[], string]>([
  ['TENANT_WRITE', 'TENANT_WRITE'],
  ['PUBLISH', 'PUBLISH'],
  [['PUBLISH'], 'PUBLISH'],
  [['openid', 'TENANT_READ', 'TENANT_WRITE'], 'TENANT_WRITE'],
  [['openid profile', 'openid PUBLISH'], 'PUBLISH'],
  [[1, null, 'TENANT_READ'], 'TENANT_READ'],
  ['openid PUBLISH TENANT_READ', 'TENANT_READ'],
  ['TENANT_READ TENANT_WRITE', 'TENANT_WRITE'],
  ['ADMIN TENANT_READ', 'TENANT_READ'],
])('of the scopes in %j, %s counts', async (scope, counts) => {
  expect(await verify(await sign({ ...CLAIMS, scope }))).toMatchObject({ scope: counts });
});

test.each<[string, Record<string, unknown>]>([
  ['that expired 3 s ago by this clock', { exp: inSeconds(-3) }],
  ['for 24 hours', { exp: inSeconds(86_400) }],
  ['for this audience among others', { aud: ['somebody-else', 'webhooks-engine'] }],
  ['for this audience alone', { aud: 'webhooks-engine' }],
])('a JWT %s is accepted', async (_what, claims) => {
  expect(await verify(await sign({ ...CLAIMS, ...claims }))).toBeDefined();
});

test.each<[string, Record<string, unknown>]>([
  ['that expired 6 s ago', { exp: inSeconds(-6) }],
  ['without an expiry', { exp: undefined }],
  ['with an expiry that is not a number', { exp: '9999999999' }],
  ['for more than 24 hours', { exp: inSeconds(86_400 + 60) }],
  ['that never expires', { exp: 1e300 }],
  ['that is not valid yet', { nbf: inSeconds(60) }],
  ['without a tenant', { tenant: undefined }],
  ['with an invalid tenant name', { tenant: 'a.b' }],
  ['of several tenants', { tenant: ['acme'] }],
  ['without a scope', { scope: undefined }],
  ['without a known scope', { scope: 'openid profile' }],
  ['with a scope in lower case', { scope: 'tenant_read' }],
  ['with ADMIN', { scope: 'ADMIN' }],
  ['without a known scope in its list', { scope: ['openid', 'tenant_read', 'ADMIN', 1] }],
  ['with an empty list of scopes', { scope: [] }],
  ['with a list in the list of scopes', { scope: [['TENANT_READ']] }],
  ['with a scope that is an object', { scope: { scope: 'TENANT_READ' } }],
  ['with a scope that is null', { scope: null }],
  ['for another audience', { aud: 'somebody-else' }],
  ['with an empty list of audiences', { aud: [] }],
])('a JWT %s is rejected', async (_what, claims) => {
  expect(await verify(await sign({ ...CLAIMS, ...claims }))).toBeUndefined();
});

describe('a rejected JWT', () => {
  test('has a signature with another secret or another algorithm', async () => {
    const good = await sign(CLAIMS);
    const [header, , signature] = good.split('.');
    const [, forged] = (await sign({ ...CLAIMS, tenant: 'other' })).split('.');
    const bad = [
      await sign(CLAIMS, { secret: `${SECRET}!` }),
      await sign(CLAIMS, { alg: 'HS512' }),
      new UnsecuredJWT(CLAIMS).encode(),
      `${header ?? ''}.${forged ?? ''}.${signature ?? ''}`,
      `${good}=`,
      `${good}.x`,
      await sign({ ...CLAIMS, padding: 'x'.repeat(8_192) }),
    ];
    for (const token of bad) expect(await verify(token)).toBeUndefined();
  });

  test('is logged with the reason, and without the token', async () => {
    const token = await sign({ ...CLAIMS, scope: 'canary', tenant: 'hunter2' });
    lines.length = 0;
    expect(await verify(token)).toBeUndefined();
    expect(lines.join('')).toContain('the claim scope has none of');
    for (const canary of ['canary', 'hunter2', ...token.split('.')]) expect(lines.join('')).not.toContain(canary);
  });
});

describe('the id of the credential', () => {
  const idOf = async (claims: Record<string, unknown>) =>
    (await verify(await sign({ ...CLAIMS, ...claims })))?.credentialId;

  test('is the same for all tokens of a subject, and does not reveal the subject', async () => {
    const [first, second] = [await idOf({ sub: 'user-1', jti: '1' }), await idOf({ sub: 'user-1', jti: '2' })];
    expect(first).toBe(second);
    expect(first).not.toContain('user-1');
    expect(await idOf({ sub: 'user-2' })).not.toBe(first);
    expect(await idOf({ sub: 'user-1', tenant: 'other' })).not.toBe(first);
  });

  test('does not depend on the encoding of the token', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    const server = createServer((_request, response) => {
      void exportJWK(publicKey).then((key) => response.end(JSON.stringify({ keys: [key] })));
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => void server.close());
    // `as`: a server on TCP.
    const { port } = server.address() as AddressInfo;
    const verifySigned = createVerifyJwt({ jwksUrl: `http://127.0.0.1:${port}` }, log);
    const token = await new SignJWT(CLAIMS).setProtectedHeader({ alg: 'ES256' }).sign(privateKey);
    const [header = '', payload = '', signature = ''] = token.split('.');
    const bytes = Buffer.from(signature, 'base64url');
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const s = order - BigInt(`0x${bytes.subarray(32).toString('hex')}`);
    const mirrored = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')]);
    // 64 bytes leave four bits of the last digit unused.
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const last = digits.charAt(digits.indexOf(signature.slice(-1)) + 1);
    const spellings = [signature, `${signature.slice(0, -1)}${last}`, mirrored.toString('base64url')];
    const ids = await Promise.all(
      spellings.map(async (spelling) => (await verifySigned(`${header}.${payload}.${spelling}`))?.credentialId),
    );
    expect(ids[0]).toBeDefined();
    expect(new Set(ids).size).toBe(1);
  });

  test('is derived from the token if it has no subject', async () => {
    expect(await idOf({ jti: '1' })).not.toBe(await idOf({ jti: '2' }));
  });
});

test('a verified token is cached, but not beyond its expiry', async () => {
  const ending = await sign({ ...CLAIMS, exp: inSeconds(-3) });
  expect(await verify(ending)).toBeDefined();
  expect(await verify(ending)).toBe(await verify(ending));
  await expect.poll(() => verify(ending), { timeout: 5_000 }).toBeUndefined();
});
