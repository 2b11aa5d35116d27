import type { GraphQLError } from 'graphql';
import { createGraphQLError, type Plugin } from 'graphql-yoga';
import { LRUCache } from 'lru-cache';
import type { Viewer } from './viewer.ts';
import { type CpuShares, PRICES } from './cpu-share.ts';

/** So many seconds' worth may be used at once, after a pause. */
const BURST_SECONDS = 2;
/** Of those that were heard of last; who has been away for longer begins with a full bucket anyhow. */
const MAX_BUCKETS = 10_000;

type Bucket = { tokens: number; filledAt: number };

/** Takes one operation of what this viewer may do; returns 0, or in how many milliseconds there is one again. */
export type TakeOperation = (viewer: Viewer, now?: number) => number;

/**
 * A bucket for each credential, that fills with `perSecond` operations. Each process has its own. The admin is not
 * limited: it is the operator's own key, and what stands behind it serves all tenants.
 */
export function createRateLimit(perSecond: number): TakeOperation {
  const buckets = new LRUCache<string, Bucket>({ max: MAX_BUCKETS });
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

/** Whose operations are counted together; undefined for administrators. */
function credentialOf(viewer: Viewer): string | undefined {
  return viewer.scope === 'ADMIN' ? undefined : viewer.credentialId;
}

export function rateLimitedError(waitMs: number): GraphQLError {
  const message = `too many operations; the next one may begin in ${waitMs} ms`;
  return createGraphQLError(message, { extensions: { code: 'RATE_LIMITED', retryAfterMs: waitMs } });
}

/** Begins an operation: returns 0, or in how many milliseconds the viewer's rate and its tenant's CPU time allow one. */
export function waitBeforeOperation(
  viewer: Viewer,
  { takeOperation, cpuShares }: { readonly takeOperation: TakeOperation; readonly cpuShares: CpuShares },
): number {
  const waitMs = cpuShares(viewer)?.waitMs() ?? 0;
  return waitMs > 0 ? waitMs : takeOperation(viewer);
}

/** Over HTTP, as soon as it is known whose request it is. */
export function limitRate(takeOperation: TakeOperation, cpuShares: CpuShares): Plugin<object, { viewer?: Viewer }> {
  return {
    onRequest: (hook) => {
      const { request, serverContext, fetchAPI } = hook;
      const { viewer } = serverContext;
      if (viewer === undefined) return;
      const waitMs = waitBeforeOperation(viewer, { takeOperation, cpuShares });
      if (waitMs === 0) {
        cpuShares(viewer)?.spend(Number(request.headers.get('content-length') ?? 0) * PRICES.byteOfRequest);
        return;
      }
      const headers = { 'content-type': 'application/json', 'retry-after': String(Math.ceil(waitMs / 1_000)) };
      const body = JSON.stringify({ errors: [rateLimitedError(waitMs)] });
      hook.endResponse(new fetchAPI.Response(body, { status: 429, headers }));
    },
  };
}
