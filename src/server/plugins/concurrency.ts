import {
  type ExecutionArgs,
  type ExecutionResult,
  type GraphQLError,
  getOperationAST,
  OperationTypeNode,
} from 'graphql';
import { createGraphQLError, isAsyncIterable, type Plugin } from 'graphql-yoga';
import { createConcurrencyQuota, quotaKeyOf } from '../../auth/quota.ts';
import { type InFlight, trackValues } from '../../lib/loop.ts';
import { FairSemaphore } from '../../lib/semaphore.ts';
import type { Context } from '../../schema/context.ts';

/** Half of Prisma's connections: what one tenant asks must not keep the others waiting. */
const MAX_RUNNING = 5;
/** As many as the default rate limit lets through at once. */
const MAX_WAITING = 200;
const CROWDED = `at most ${MAX_RUNNING} operations of a tenant run at a time, and ${MAX_WAITING} wait`;

/** So many queries and mutations of a tenant run at a time, the others wait for their turn. */
export function limitTenantConcurrency(): Plugin<Context> {
  const turns = new FairSemaphore({ max: Number.POSITIVE_INFINITY, maxPerHolder: MAX_RUNNING });
  return {
    onExecute: ({ args, executeFn, setExecuteFn }) => {
      // `as`: Yoga leaves the type of the context open.
      const context = args.contextValue as Context;
      const holder = quotaKeyOf(context.viewer);
      if (holder === undefined) return;
      setExecuteFn((execution: ExecutionArgs): Promise<ExecutionResult> | ExecutionResult => {
        if (turns.waitingOf(holder) >= MAX_WAITING) return { errors: [tooManyOperations(CROWDED)] };
        // `as`: it is graphql-js's, or another plugin's in its place.
        return turns.run(holder, async (rest) => {
          Object.assign(context, { rest });
          return (await executeFn(execution)) as ExecutionResult;
        });
      });
    },
  };
}

const MAX_STREAMS = 10_000;
/** Each may keep 1,000 attempts in memory, and all of them are compared with every attempt. */
const MAX_STREAMS_PER_TENANT = 1_000;

/** So many live streams are open at a time, over whatever transport. */
export function limitStreams(): Plugin<Context> {
  const streams = createConcurrencyQuota({ max: MAX_STREAMS, maxPerTenant: MAX_STREAMS_PER_TENANT });
  return {
    onSubscribe: ({ args, setResultAndStopExecution }) => {
      // `as`: Yoga leaves the type of the context open.
      const release = streams.take((args.contextValue as Context).viewer);
      if (release === undefined) {
        const message = `at most ${MAX_STREAMS_PER_TENANT} live streams of a tenant can be open`;
        setResultAndStopExecution({ errors: [tooManyOperations(message)] });
        return undefined;
      }
      return {
        onSubscribeResult: ({ result }) => {
          if (!isAsyncIterable(result)) {
            release();
            return undefined;
          }
          return { onEnd: release };
        },
        onSubscribeError: release,
      };
    },
  };
}

/** A stop waits for the fields of a value that is being computed; a transport that is closed does not. */
export function trackStreams(operations: InFlight): Plugin<Context> {
  return {
    onSubscribe: () => ({
      onSubscribeResult: ({ result, setResult }) => {
        // `as`: Yoga leaves the type of the values open.
        if (isAsyncIterable(result)) setResult(trackValues(operations, result as AsyncIterable<ExecutionResult>));
      },
    }),
  };
}

/** As long as a statement of theirs may take. */
const MAX_QUERY_MS = 30_000;

/**
 * Ends a query that takes too long, or whose client has gone away: nothing more of it is begun, and a statement that
 * runs ends by its own limit. Mutations end as they would alone: what they have begun is done, and their caller should
 * learn of it. Live streams end with their connection.
 */
export function endLongQueries(maxMs = MAX_QUERY_MS): Plugin {
  return {
    onExecute: ({ args }) => {
      // Yoga leaves their type open.
      const execution: ExecutionArgs = args;
      const operation = getOperationAST(execution.document, execution.operationName);
      if (operation?.operation !== OperationTypeNode.QUERY) return undefined;
      const ending = new AbortController();
      // `as`: Yoga puts the request into every context.
      const { request } = execution.contextValue as { readonly request: Request };
      const onGone = () => {
        ending.abort(request.signal.reason);
      };
      if (request.signal.aborted) onGone();
      request.signal.addEventListener('abort', onGone);
      const timer = setTimeout(() => {
        ending.abort(timeoutError(maxMs));
      }, maxMs);
      timer.unref();
      Object.assign(args, { signal: ending.signal });
      // For resolvers that take many steps.
      Object.assign(execution.contextValue as object, { signal: ending.signal });
      (execution.contextValue as Partial<Context>).work?.stopWith(ending.signal);
      return {
        onExecuteDone: () => {
          clearTimeout(timer);
          request.signal.removeEventListener('abort', onGone);
        },
      };
    },
  };
}

function timeoutError(maxMs: number): GraphQLError {
  const message = `the query took longer than ${maxMs / 1_000} s; ask for less`;
  return createGraphQLError(message, { extensions: { code: 'TIMEOUT' } });
}

export function tooManyOperations(message: string): GraphQLError {
  return createGraphQLError(message, { extensions: { code: 'TOO_MANY_OPERATIONS' } });
}
