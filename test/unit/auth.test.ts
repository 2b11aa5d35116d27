import { describe, expect, test } from 'vitest';
import { InvalidInputError } from '../../src/delivery/webhook-subscription-errors.ts';
import { tenantScope, tenantWhere } from '../../src/schema/viewer.ts';
import { createAuthenticate } from '../../src/server/auth.ts';

const KEY = 'k'.repeat(32);

describe('the admin key', () => {
  test.each([`Bearer ${KEY}`, `bearer ${KEY}`, `Bearer   ${KEY}`, KEY])('%j is accepted', async (authorization) => {
    expect(await createAuthenticate(KEY)(authorization)).toEqual({ kind: 'admin' });
  });

  test.each([
    undefined,
    '',
    'Bearer',
    'Bearer ',
    `Basic ${KEY}`,
    `Bearer ${KEY}x`,
    `Bearer ${KEY.slice(1)}`,
    `Bearer ${KEY.toUpperCase()}`,
  ])('%j is not', async (authorization) => {
    expect(await createAuthenticate(KEY)(authorization)).toBeUndefined();
  });
});

describe('tenantScope', () => {
  const tenant = { kind: 'tenant', tenant: 'acme', scope: 'read' } as const;

  test('the admin sees the tenant asked for, or all', () => {
    expect(tenantScope({ kind: 'admin' }, 'acme')).toBe('acme');
    expect(tenantWhere({ kind: 'admin' }, null)).toEqual({});
  });

  test("a tenant's credentials see that tenant, whatever is asked for", () => {
    expect(tenantScope(tenant)).toBe('acme');
    expect(tenantWhere(tenant, 'acme')).toEqual({ tenant: 'acme' });
    expect(() => tenantScope(tenant, 'other')).toThrow(InvalidInputError);
  });

  test('what is no tenant never reaches a query', () => {
    expect(() => tenantWhere({ kind: 'admin' }, 'a\0b')).toThrow(InvalidInputError);
  });
});
