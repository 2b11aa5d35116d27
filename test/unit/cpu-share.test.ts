import { expect, test } from 'vitest';
import { createCpuShares } from '../../src/auth/quota.ts';

const viewer = (tenant: string, credentialId = 'key') => ({ scope: 'TENANT_WRITE' as const, tenant, credentialId });

test('a tenant has 400 ms of CPU per second, twice as much after a pause, whatever its credentials', () => {
  let now = 0;
  const shares = createCpuShares(() => now);
  const [one, other] = [shares(viewer('acme', 'a')), shares(viewer('acme', 'b'))];
  one?.spend(800);
  expect(other?.waitMs()).toBe(0);
  other?.spend(400);
  expect(one?.waitMs()).toBe(1_000);
  now = 500;
  expect(one?.waitMs()).toBe(500);
  now = 60_000;
  expect(one?.waitMs()).toBe(0);
  one?.spend(800);
  expect(one?.waitMs()).toBe(0);
  one?.spend(4);
  expect(one?.waitMs()).toBe(10);
});

test('a tenant that has used its share keeps nobody else waiting, and administrators have no limit', () => {
  const shares = createCpuShares(() => 0);
  shares(viewer('acme'))?.spend(10_000);
  expect(shares(viewer('other'))?.waitMs()).toBe(0);
  expect(shares({ scope: 'ADMIN', credentialId: 'admin' })).toBeUndefined();
});
