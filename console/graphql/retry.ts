import { type CombinedError, makeOperation, type Operation, type OperationResult } from 'urql';

const WAIT_MS = 5_000;

/** Codes of GraphQL errors with which the server has not begun the operation, or lacked Postgres. */
const TEMPORARY: readonly unknown[] = ['RATE_LIMITED', 'SERVICE_UNAVAILABLE'];

/** The HTTP status; undefined if there is no response. */
export function statusOf({ response }: CombinedError): number | undefined {
  // `as`: urql types the response of any platform.
  return (response as Response | undefined)?.status;
}

/** Whether the same query can succeed later. */
export function isTemporary(error: CombinedError): boolean {
  const { graphQLErrors, networkError } = error;
  const status = statusOf(error) ?? 0;
  const isUnreachable = networkError !== undefined && (status < 400 || status === 429 || status >= 500);
  return isUnreachable || graphQLErrors.some(({ extensions }) => TEMPORARY.includes(extensions.code));
}

/**
 * Returns a function for each result. A query that failed for a temporary reason is executed again 5 s later, until it
 * succeeds. Meanwhile its page shows the error. `reexecute` ignores queries that no page shows any more.
 */
export function retryQueries(reexecute: (operation: Operation) => void): (result: OperationResult) => void {
  const waiting = new Set<number>();
  return ({ operation, error }) => {
    const { kind, key, context } = operation;
    if (kind !== 'query' || error === undefined || !isTemporary(error) || waiting.has(key)) return;
    waiting.add(key);
    setTimeout(() => {
      waiting.delete(key);
      reexecute(makeOperation(kind, operation, { ...context, requestPolicy: 'network-only' }));
    }, WAIT_MS);
  };
}
