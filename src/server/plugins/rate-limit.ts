import type { GraphQLError } from 'graphql';
import { createGraphQLError, type Plugin } from 'graphql-yoga';
import { CPU_ESTIMATES_MS, type CpuShares, type TakeOperation, waitBeforeOperation } from '../../auth/quota.ts';
import { type CpuAccount, measure } from '../../lib/operation-work.ts';
import type { HoldBody } from '../body-quota.ts';
import type { ServerContext } from '../graphql.ts';
import { tooManyOperations } from './concurrency.ts';

const CROWDED = 'the requests of the tenant that are not answered have too many bytes';

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

type RequestLimits = {
  readonly takeOperation: TakeOperation;
  readonly cpuShares: CpuShares;
  readonly holdBody: HoldBody;
};

/**
 * Limits the rate of requests over HTTP and the bytes of those that are not answered, as soon as the viewer is known, and
 * charges the parsing of their bodies.
 */
export function limitRequests({ takeOperation, cpuShares, holdBody }: RequestLimits): Plugin<object, ServerContext> {
  return {
    onRequest: (hook) => {
      const { serverContext, fetchAPI } = hook;
      const { viewer, isCharged, isAdmitted, req, res } = serverContext;
      if (viewer === undefined || isAdmitted === true) return;
      const refuse = (error: GraphQLError, headers: Record<string, string> = {}) => {
        const init = { status: 429, headers: { 'content-type': 'application/json', ...headers } };
        hook.endResponse(new fetchAPI.Response(JSON.stringify({ errors: [error] }), init));
      };
      const waitMs = isCharged === true ? 0 : waitBeforeOperation(viewer, { takeOperation, cpuShares });
      if (waitMs > 0) {
        refuse(rateLimitedError(waitMs), { 'retry-after': retryAfter(waitMs) });
        return;
      }
      if (req === undefined || res === undefined) return;
      const settleBody = holdBody(viewer, req, res);
      if (settleBody === undefined) refuse(tooManyOperations(CROWDED));
      else serverContext.settleBody = settleBody;
    },
    onRequestParse: (hook) => {
      const { serverContext, requestParser } = hook;
      const { viewer, parsedBody, settleBody } = serverContext;
      if (viewer === undefined || requestParser === undefined) return;
      const account = cpuShares(viewer);
      const read = async (request: Request) => {
        const text = await request.text();
        settleBody?.(text);
        return parseBody(text, account);
      };
      hook.setRequestParser((request) => {
        // Yoga's parser of a POST calls this. That of a GET parses the variables of the URL at once.
        const json = () => (parsedBody === undefined ? read(request) : Promise.resolve(parsedBody));
        return measure(account, () => requestParser(Object.assign(request, { json })));
      });
    },
  };
}
