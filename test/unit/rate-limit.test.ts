import { expect, it } from 'vitest';
import { createRateLimit, type TakeOperation } from '../../src/auth/quota.ts';
import type { Viewer } from '../../src/auth/viewer.ts';

const tenant = (name: string): Viewer => ({ tenant: name, scope: 'TENANT_READ', credentialId: name });

function takeMany(take: TakeOperation, viewer: Viewer, { count, now }: { count: number; now: number }): number {
  return Array.from({ length: count }, () => take(viewer, now)).filter((wait) => wait === 0).length;
}

it('two seconds of operations at once are allowed, then as many per second as it says', () => {
  const take = createRateLimit(10);
  expect(takeMany(take, tenant('a'), { count: 50, now: 0 })).toBe(20);
  expect(takeMany(take, tenant('a'), { count: 50, now: 1_000 })).toBe(10);
  expect(takeMany(take, tenant('a'), { count: 50, now: 1_050 })).toBe(0);
  expect(takeMany(take, tenant('a'), { count: 50, now: 1_000_000 })).toBe(20);
});

it('it says when there is one again, and then there is', () => {
  const take = createRateLimit(4);
  expect(takeMany(take, tenant('a'), { count: 8, now: 0 })).toBe(8);
  const wait = take(tenant('a'), 100);
  expect(wait).toBe(150);
  expect(take(tenant('a'), 100 + wait - 1)).toBeGreaterThan(0);
  expect(take(tenant('a'), 100 + wait)).toBe(0);
});

it('a credential does not use up what belongs to another, and the admin is not limited', () => {
  const take = createRateLimit(1);
  expect(takeMany(take, tenant('a'), { count: 10, now: 0 })).toBe(2);
  expect(takeMany(take, tenant('b'), { count: 10, now: 0 })).toBe(2);
  expect(takeMany(take, { scope: 'ADMIN', credentialId: 'admin' }, { count: 10_000, now: 0 })).toBe(10_000);
});
