import { LRUCache } from 'lru-cache';
import { atMost } from '../lib/collections.ts';
import type { CpuAccount } from '../lib/operation-work.ts';
import type { Viewer } from './viewer.ts';

/**
 * The key by which sockets, streams and running operations are counted; undefined for administrators. It is the tenant, not
 * the credential, because a tenant can create thousands of JWTs.
 */
export function quotaKeyOf(viewer: Viewer): string | undefined {
  return viewer.scope === 'ADMIN' ? undefined : (viewer.tenant ?? viewer.credentialId);
}

type Permit = {
  /** May be called repeatedly. */
  readonly release: () => void;
  /** Releases all but this number. */
  readonly shrinkTo: (count: number) => void;
};

type ConcurrencyQuota = {
  /** Takes one permit, or as many as given; undefined if the quota is exhausted. */
  take(viewer: Viewer, count?: number): Permit | undefined;
};

type ConcurrencyLimits = {
  readonly max: number;
  /** The maximum of a tenant, by the number of permits that are free. */
  readonly maxPerTenant: (free: number) => number;
};

/** Limits a count for each tenant and in total. Administrators count only towards the total. */
export function createConcurrencyQuota({ max, maxPerTenant }: ConcurrencyLimits): ConcurrencyQuota {
  const counts = new Map<string, number>();
  let total = 0;
  const add = (key: string | undefined, change: number) => {
    total += change;
    if (key === undefined) return;
    const count = (counts.get(key) ?? 0) + change;
    if (count === 0) counts.delete(key);
    else counts.set(key, count);
  };
  return {
    take: (viewer, count = 1) => {
      const key = quotaKeyOf(viewer);
      const free = max - total;
      const ofTenant = key === undefined ? free : maxPerTenant(free) - (counts.get(key) ?? 0);
      if (count > Math.min(free, ofTenant)) return undefined;
      add(key, count);
      let held = count;
      const shrinkTo = (rest: number) => {
        const left = Math.min(held, rest);
        add(key, left - held);
        held = left;
      };
      const release = () => {
        shrinkTo(0);
      };
      return { shrinkTo, release };
    },
  };
}

/** Size of a full bucket, in seconds of the rate. */
const BURST_SECONDS = 2;
/** Maximum number of buckets. The least recently used one is dropped; it would be full again at its next use. */
const MAX_BUCKETS = 10_000;

type Bucket = { tokens: number; filledAt: number };

/** Takes an operation from the viewer's bucket. Returns 0, or the milliseconds until one is available. */
export type TakeOperation = (viewer: Viewer, now?: number) => number;

/**
 * A token bucket for each credential and process, filled with `perSecond` operations. Administrators are not limited, because
 * the operator's own services act for all tenants.
 */
export function createRateLimit(perSecond: number): TakeOperation {
  const buckets = new LRUCache<string, Bucket>(atMost(MAX_BUCKETS));
  const capacity = perSecond * BURST_SECONDS;
  return (viewer, now = performance.now()) => {
    const credential = credentialOf(viewer);
    if (credential === undefined) return 0;
    const bucket = buckets.get(credential) ?? { tokens: capacity, filledAt: now };
    bucket.tokens = Math.min(capacity, bucket.tokens + ((now - bucket.filledAt) / 1_000) * perSecond);
    bucket.filledAt = now;
    buckets.set(credential, bucket);
    if (bucket.tokens < 1) return Math.ceil(((1 - bucket.tokens) / perSecond) * 1_000);
    bucket.tokens -= 1;
    return 0;
  };
}

/** The key of a bucket; undefined for administrators. */
function credentialOf(viewer: Viewer): string | undefined {
  return viewer.scope === 'ADMIN' ? undefined : viewer.credentialId;
}

/** Admits an operation: returns 0, or the milliseconds until the viewer's rate and its tenant's CPU time permit one. */
export function waitBeforeOperation(
  viewer: Viewer,
  { takeOperation, cpuShares }: { readonly takeOperation: TakeOperation; readonly cpuShares: CpuShares },
): number {
  const waitMs = cpuShares(viewer)?.waitMs() ?? 0;
  return waitMs > 0 ? waitMs : takeOperation(viewer);
}

/** Milliseconds of event loop time per second, for one tenant in one process. */
const MS_PER_SECOND = 400;
/** Size of a full account, in seconds of MS_PER_SECOND. */
const CPU_BURST_SECONDS = 2;
/** Maximum number of accounts. The account of the least recently active tenant is dropped. */
const MAX_ACCOUNTS = 10_000;

/** Estimated milliseconds of work that is not measured, from measurements on two cores of 2.5 GHz, rounded up. */
export const CPU_ESTIMATES_MS = {
  operation: 0.5,
  /** Reading, parsing and validating. */
  characterOfDocument: 0.0005,
  /** A message over WebSocket: receiving it, and refusing its operation. */
  message: 0.1,
  /** Receiving; parsing is measured. */
  characterOfRequest: 0.000002,
  valueOfResponse: 0.002,
  characterOfResponse: 0.00001,
  /** A character of event data that is parsed and written again. Many short values take as long. */
  characterOfJson: 0.00007,
} as const;

/** The account of a viewer's tenant; undefined for administrators, who have no limit. */
export type CpuShares = (viewer: Viewer) => CpuAccount | undefined;

/** An account for each tenant, filled with MS_PER_SECOND. Work continues while the account is not overdrawn. */
export function createCpuShares(now: () => number = () => performance.now()): CpuShares {
  const accounts = new LRUCache<string, { left: number; filledAt: number }>(atMost(MAX_ACCOUNTS));
  return (viewer) => {
    const key = quotaKeyOf(viewer);
    if (key === undefined) return undefined;
    const fill = () => {
      const account = accounts.get(key) ?? { left: CPU_BURST_SECONDS * MS_PER_SECOND, filledAt: now() };
      const filled = account.left + ((now() - account.filledAt) / 1_000) * MS_PER_SECOND;
      account.left = Math.min(CPU_BURST_SECONDS * MS_PER_SECOND, filled);
      account.filledAt = now();
      accounts.set(key, account);
      return account;
    };
    return {
      spend: (ms) => {
        fill().left -= ms;
      },
      waitMs: () => Math.ceil((Math.max(0, -fill().left) / MS_PER_SECOND) * 1_000),
    };
  };
}
