import type { GraphQLError } from 'graphql';
import { createGraphQLError, type Plugin } from 'graphql-yoga';
import { CPU_ESTIMATES_MS, type CpuShares, type TakeOperation, waitBeforeOperation } from '../../auth/quota.ts';
import type { Viewer } from '../../auth/viewer.ts';

/** The answer, over every transport, to an operation beyond the rate or the CPU time of its tenant. */
export function rateLimitedError(waitMs: number): GraphQLError {
  const message = `too many operations; the next one may begin in ${waitMs} ms`;
  return createGraphQLError(message, { extensions: { code: 'RATE_LIMITED', retryAfterMs: waitMs } });
}

/** Limits the rate of requests over HTTP, as soon as the viewer is known. */
export function limitRate(
  takeOperation: TakeOperation,
  cpuShares: CpuShares,
): Plugin<object, { viewer?: Viewer; isAdmitted?: true }> {
  return {
    onRequest: (hook) => {
      const { request, serverContext, fetchAPI } = hook;
      const { viewer, isAdmitted } = serverContext;
      if (viewer === undefined || isAdmitted === true) return;
      const waitMs = waitBeforeOperation(viewer, { takeOperation, cpuShares });
      if (waitMs === 0) {
        cpuShares(viewer)?.spend(Number(request.headers.get('content-length') ?? 0) * CPU_ESTIMATES_MS.byteOfRequest);
        return;
      }
      const headers = { 'content-type': 'application/json', 'retry-after': String(Math.ceil(waitMs / 1_000)) };
      const body = JSON.stringify({ errors: [rateLimitedError(waitMs)] });
      hook.endResponse(new fetchAPI.Response(body, { status: 429, headers }));
    },
  };
}
