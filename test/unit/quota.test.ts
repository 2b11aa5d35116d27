import { describe, expect, test } from 'vitest';
import { createCpuShares, createRateLimit, type TakeOperation } from '../../src/auth/quota.ts';
import type { Viewer } from '../../src/auth/viewer.ts';

const viewer = (tenant: string, credentialId = tenant): Viewer => ({ scope: 'TENANT_WRITE', tenant, credentialId });

describe('the rate limit', () => {
  test("two seconds' worth of operations may run at once, then `perSecond`", () => {
    const take = createRateLimit(10);
    expect(takeMany(take, viewer('a'), { count: 50, now: 0 })).toBe(20);
    expect(takeMany(take, viewer('a'), { count: 50, now: 1_000 })).toBe(10);
    expect(takeMany(take, viewer('a'), { count: 50, now: 1_050 })).toBe(0);
    expect(takeMany(take, viewer('a'), { count: 50, now: 1_000_000 })).toBe(20);
  });

  test('it returns the wait until the next operation', () => {
    const take = createRateLimit(4);
    expect(takeMany(take, viewer('a'), { count: 8, now: 0 })).toBe(8);
    const wait = take(viewer('a'), 100);
    expect(wait).toBe(150);
    expect(take(viewer('a'), 100 + wait - 1)).toBeGreaterThan(0);
    expect(take(viewer('a'), 100 + wait)).toBe(0);
  });

  test('each credential has its own bucket, and the admin is not limited', () => {
    const take = createRateLimit(1);
    expect(takeMany(take, viewer('a'), { count: 10, now: 0 })).toBe(2);
    expect(takeMany(take, viewer('b'), { count: 10, now: 0 })).toBe(2);
    expect(takeMany(take, { scope: 'ADMIN', credentialId: 'admin' }, { count: 10_000, now: 0 })).toBe(10_000);
  });
});

describe('the CPU share', () => {
  test('a tenant has 400 ms of CPU per second for all its credentials, and twice as much after a pause', () => {
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

  test('a tenant that has used up its share delays no other tenant, and administrators have no limit', () => {
    const shares = createCpuShares(() => 0);
    shares(viewer('acme'))?.spend(10_000);
    expect(shares(viewer('other'))?.waitMs()).toBe(0);
    expect(shares({ scope: 'ADMIN', credentialId: 'admin' })).toBeUndefined();
  });
});

function takeMany(take: TakeOperation, viewer: Viewer, { count, now }: { count: number; now: number }): number {
  return Array.from({ length: count }, () => take(viewer, now)).filter((wait) => wait === 0).length;
}
