import { describe, expect, test } from 'vitest';
import { generateSecret, hashApiKey, isApiKey } from '../../src/auth/api-keys.ts';
import { createAuthenticate } from '../../src/auth/credentials.ts';
import { tenantScope, tenantWhere, type Viewer } from '../../src/auth/viewer.ts';
import { InvalidInputError } from '../../src/lib/errors.ts';

const KEY = 'k'.repeat(32);
/** The second value of ADMIN_API_KEY. */
const OLD_KEY = 'o'.repeat(32);
const nobody = () => Promise.resolve(undefined);
const authenticate = createAuthenticate({ adminApiKeys: [KEY, OLD_KEY], findApiKey: nobody, verifyJwt: undefined });

describe('the admin key', () => {
  test.each([`Bearer ${KEY}`, `bearer ${KEY}`, `Bearer   ${KEY}`, KEY, `Bearer ${OLD_KEY}`])(
    '%j is accepted',
    async (authorization) => {
      expect(await authenticate(authorization)).toMatchObject({ scope: 'ADMIN', credentialId: 'admin' });
    },
  );

  test.each([
    undefined,
    '',
    'Bearer',
    'Bearer ',
    `Basic ${KEY}`,
    `Bearer ${KEY}x`,
    `Bearer ${KEY.slice(1)}`,
    `Bearer ${KEY.toUpperCase()}`,
  ])('%j is not accepted', async (authorization) => {
    expect(await authenticate(authorization)).toBeUndefined();
  });
});

describe('an API key', () => {
  test('is a prefix and 256 random bits in base64url, and no two are the same', () => {
    const keys = Array.from({ length: 1_000 }, () => generateSecret('whk_'));
    expect(new Set(keys).size).toBe(1_000);
    expect(keys.filter((key) => !isApiKey(key))).toEqual([]);
    expect(new Set(keys.flatMap((key) => Array.from(key.slice(4)))).size).toBe(64);
    expect(keys.filter((key) => Buffer.from(key.slice(4), 'base64url').length !== 32)).toEqual([]);
  });

  test.each(['whk_', `whk_${'a'.repeat(42)}`, `whk_${'a'.repeat(44)}`, `whk_${'a'.repeat(42)}+`, 'a'.repeat(47)])(
    '%j is not an API key, so it is not looked up',
    (text) => {
      expect(isApiKey(text)).toBe(false);
    },
  );

  test('is stored as its SHA-256', () => {
    expect(hashApiKey('abc').toString('hex')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });
});

describe('tenantScope', () => {
  const admin: Viewer = { scope: 'ADMIN', credentialId: 'x' };
  const tenant: Viewer = { scope: 'TENANT_READ', tenant: 'acme', credentialId: 'x' };
  const publisher: Viewer = { scope: 'PUBLISH', tenant: undefined, credentialId: 'x' };

  test('the admin sees the requested tenant, or all tenants', () => {
    expect(tenantScope(admin, 'acme')).toBe('acme');
    expect(tenantWhere(admin, null)).toEqual({});
  });

  test("a tenant's credentials see only that tenant, whichever tenant is requested", () => {
    expect(tenantScope(tenant)).toBe('acme');
    expect(tenantWhere(tenant, 'acme')).toEqual({ tenant: 'acme' });
    expect(() => tenantScope(tenant, 'other')).toThrow(InvalidInputError);
  });

  test('a publisher for every tenant must name one, and never acts for all of them', () => {
    expect(tenantScope(publisher, 'acme')).toBe('acme');
    for (const none of [undefined, null]) expect(() => tenantScope(publisher, none)).toThrow(InvalidInputError);
  });

  test('an invalid tenant name never reaches a query', () => {
    for (const viewer of [admin, publisher]) {
      expect(() => tenantScope(viewer, 'a\0b')).toThrow(InvalidInputError);
      expect(() => tenantWhere(viewer, 'a\0b')).toThrow(InvalidInputError);
    }
  });
});
