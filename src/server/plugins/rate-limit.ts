import type { GraphQLError } from 'graphql';
import { createGraphQLError, type Plugin } from 'graphql-yoga';
import { CPU_ESTIMATES_MS, type CpuShares, type TakeOperation, waitBeforeOperation } from '../../auth/quota.ts';
import type { Viewer } from '../../auth/viewer.ts';
import { type CpuAccount, measure } from '../../lib/operation-work.ts';

/** The response, over every transport, to an operation beyond the rate or the CPU time of its tenant. */
export function rateLimitedError(waitMs: number, http?: object): GraphQLError {
  const message = `too many operations; the next one may begin in ${waitMs} ms`;
  return createGraphQLError(message, {
    extensions: { code: 'RATE_LIMITED', retryAfterMs: waitMs, ...(http && { http }) },
  });
}

/**
 * Parses the JSON of a request and charges its time, which depends on the content: many different names take 20 times as
 * long as one string. Throws RATE_LIMITED if the account is overdrawn, because many requests may have been admitted
 * before the first of them is parsed; and a SyntaxError.
 */
export function parseBody(text: string, account: CpuAccount | undefined): unknown {
  const waitMs = account?.waitMs() ?? 0;
  if (waitMs > 0) throw rateLimitedError(waitMs, { status: 429, headers: { 'retry-after': retryAfter(waitMs) } });
  account?.spend(text.length * CPU_ESTIMATES_MS.characterOfRequest);
  return measure<unknown>(account, () => JSON.parse(text));
}

/** In seconds. */
function retryAfter(waitMs: number): string {
  return String(Math.ceil(waitMs / 1_000));
}

type LimitedContext = { viewer?: Viewer; isAdmitted?: true; parsedBody?: unknown };

/** Limits the rate of requests over HTTP, as soon as the viewer is known, and charges the parsing of their bodies. */
export function limitRate(takeOperation: TakeOperation, cpuShares: CpuShares): Plugin<object, LimitedContext> {
  return {
    onRequest: (hook) => {
      const { serverContext, fetchAPI } = hook;
      const { viewer, isAdmitted } = serverContext;
      if (viewer === undefined || isAdmitted === true) return;
      const waitMs = waitBeforeOperation(viewer, { takeOperation, cpuShares });
      if (waitMs === 0) return;
      const headers = { 'content-type': 'application/json', 'retry-after': retryAfter(waitMs) };
      const body = JSON.stringify({ errors: [rateLimitedError(waitMs)] });
      hook.endResponse(new fetchAPI.Response(body, { status: 429, headers }));
    },
    onRequestParse: (hook) => {
      const { serverContext, requestParser } = hook;
      const { viewer, parsedBody } = serverContext;
      if (viewer === undefined || requestParser === undefined) return;
      const account = cpuShares(viewer);
      hook.setRequestParser((request) => {
        // Yoga's parser of a POST calls this. That of a GET parses the variables of the URL at once.
        const json = async () => parsedBody ?? parseBody(await request.text(), account);
        return measure(account, () => requestParser(Object.assign(request, { json })));
      });
    },
  };
}
