import { type ExecutionArgs, type GraphQLError, getOperationAST, OperationTypeNode } from 'graphql';
import { createGraphQLError, type Plugin } from 'graphql-yoga';
import type { Context } from '../../schema/context.ts';

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
