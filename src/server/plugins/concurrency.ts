import {
  type ExecutionArgs,
  type ExecutionResult,
  type GraphQLError,
  getOperationAST,
  OperationTypeNode,
} from 'graphql';
import { createGraphQLError, isAsyncIterable, type Plugin } from 'graphql-yoga';
import { type CpuShares, createConcurrencyQuota, quotaKeyOf } from '../../auth/quota.ts';
import { type InFlight, trackValues } from '../../lib/in-flight.ts';
import { waitForCpu } from '../../lib/operation-work.ts';
import { FairSemaphore } from '../../lib/semaphore.ts';
import type { Context } from '../../schema/context.ts';

/** Maximum running operations per tenant: half of Prisma's connections, so that one tenant cannot block the others. */
const MAX_RUNNING = 5;
/** Maximum waiting operations per tenant: the burst of the default rate limit. */
const MAX_WAITING = 200;
const CROWDED = `at most ${MAX_RUNNING} operations of a tenant run at a time, and ${MAX_WAITING} wait`;

/** Runs at most MAX_RUNNING queries and mutations of a tenant at a time; further ones wait in a queue. */
export function limitTenantConcurrency(): Plugin<Context> {
  const semaphore = new FairSemaphore({ max: Number.POSITIVE_INFINITY, maxPerKey: MAX_RUNNING });
  return {
    onExecute: ({ args, executeFn, setExecuteFn }) => {
      // `as`: Yoga leaves the type of the context open.
      const context = args.contextValue as Context;
      const tenant = quotaKeyOf(context.viewer);
      if (tenant === undefined) return;
      setExecuteFn((execution: ExecutionArgs): Promise<ExecutionResult> | ExecutionResult => {
        if (semaphore.waitingOf(tenant) >= MAX_WAITING) return { errors: [tooManyOperations(CROWDED)] };
        // `as`: the function of graphql-js, or of another plugin that replaced it.
        return semaphore.run(tenant, async (withoutPermit) => {
          Object.assign(context, { withoutPermit });
          return (await executeFn(execution)) as ExecutionResult;
        });
      });
    },
  };
}

/** Maximum values of a tenant's live streams that are resolved at a time, of the 10 connections of GraphQL. */
const MAX_VALUES = 2;

/**
 * Resolves the fields of at most MAX_VALUES values of a tenant's live streams at a time, and of none while its CPU
 * account is overdrawn: one change may be a value of a thousand streams. A stream that waits is like one with a slow
 * reader. Values have permits of their own, so that a tenant's queries do not wait for its streams.
 */
export function limitTenantValues(cpuShares: CpuShares): Plugin<Context> {
  const semaphore = new FairSemaphore({ max: Number.POSITIVE_INFINITY, maxPerKey: MAX_VALUES });
  return {
    onSubscribe: ({ args }) => {
      // `as`: Yoga leaves the type of the context open.
      const context = args.contextValue as Context;
      const tenant = quotaKeyOf(context.viewer);
      if (tenant === undefined) return undefined;
      const cpu = cpuShares(context.viewer);
      let release: (() => void) | undefined;
      const admitValue = async () => {
        release = await semaphore.acquire(tenant);
        await waitForCpu(cpu, context.stopping);
      };
      Object.assign(context, { admitValue });
      return {
        onSubscribeResult: ({ result, setResult }) => {
          if (!isAsyncIterable(result)) return;
          const onResolved = () => {
            release?.();
            release = undefined;
          };
          // `as`: Yoga leaves the type of the values open.
          setResult(afterEach(result as AsyncIterable<ExecutionResult>, onResolved));
        },
      };
    },
  };
}

/** Yields the same values. Requires a reader that requests one value at a time. */
function afterEach<T>(values: AsyncIterable<T>, onResolved: () => void): AsyncIterableIterator<T> {
  const source = values[Symbol.asyncIterator]();
  return {
    next: () => source.next().finally(onResolved),
    return: async () => (await source.return?.()) ?? { done: true, value: undefined },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

const MAX_STREAMS = 10_000;
/** Each stream may buffer 1,000 attempts in memory, and every attempt is matched against all streams. */
const MAX_STREAMS_PER_TENANT = 1_000;

/** Limits the open live streams, over every transport, in total and per tenant. */
export function limitStreams(): Plugin<Context> {
  const streams = createConcurrencyQuota({ max: MAX_STREAMS, maxPerTenant: () => MAX_STREAMS_PER_TENANT });
  return {
    onSubscribe: ({ args, setResultAndStopExecution }) => {
      // `as`: Yoga leaves the type of the context open.
      const permit = streams.take((args.contextValue as Context).viewer);
      if (permit === undefined) {
        const message = `at most ${MAX_STREAMS_PER_TENANT} live streams of a tenant can be open`;
        setResultAndStopExecution({ errors: [tooManyOperations(message)] });
        return undefined;
      }
      return {
        onSubscribeResult: ({ result }) => {
          if (!isAsyncIterable(result)) {
            permit.release();
            return undefined;
          }
          return { onEnd: permit.release };
        },
        onSubscribeError: permit.release,
      };
    },
  };
}

/**
 * Makes a stop wait until the fields of a stream's current value are resolved. A transport does not wait for this when
 * it closes.
 */
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

/** Milliseconds. Equal to the statement timeout of queries. */
const MAX_QUERY_MS = 30_000;

/**
 * Aborts a query after `maxMs` or when its client disconnects: no further resolver starts, and a running statement ends
 * by its own timeout. Mutations are not aborted: their effects happen anyway, and the caller must get the result. Live
 * streams end with their connection.
 */
export function endLongQueries(maxMs = MAX_QUERY_MS): Plugin {
  return {
    onExecute: ({ args }) => {
      // Yoga leaves the type of the arguments open.
      const execution: ExecutionArgs = args;
      const operation = getOperationAST(execution.document, execution.operationName);
      if (operation?.operation !== OperationTypeNode.QUERY) return undefined;
      const ending = new AbortController();
      // `as`: Yoga puts the request into every context.
      const { request } = execution.contextValue as { readonly request: Request };
      const onDisconnect = () => {
        ending.abort(request.signal.reason);
      };
      if (request.signal.aborted) onDisconnect();
      request.signal.addEventListener('abort', onDisconnect);
      const timer = setTimeout(() => {
        ending.abort(timeoutError(maxMs));
      }, maxMs);
      timer.unref();
      Object.assign(args, { signal: ending.signal });
      // Also for resolvers that consist of several steps.
      Object.assign(execution.contextValue as object, { signal: ending.signal });
      (execution.contextValue as Partial<Context>).work?.stopWith(ending.signal);
      return {
        onExecuteDone: () => {
          clearTimeout(timer);
          request.signal.removeEventListener('abort', onDisconnect);
        },
      };
    },
  };
}

function timeoutError(maxMs: number): GraphQLError {
  const message = `the query took longer than ${maxMs / 1_000} s; request less data`;
  return createGraphQLError(message, { extensions: { code: 'TIMEOUT' } });
}

export function tooManyOperations(message: string): GraphQLError {
  return createGraphQLError(message, { extensions: { code: 'TOO_MANY_OPERATIONS' } });
}
