import { CombinedError, createRequest, gql, makeOperation, type OperationResult } from 'urql';
import { afterEach, expect, test, vi } from 'vitest';
import { isTemporary, retryQueries } from './retry.ts';

afterEach(() => {
  vi.useRealTimers();
});

function failure(code: string): CombinedError {
  return new CombinedError({ graphQLErrors: [{ message: 'failed', extensions: { code } }] });
}

function unreachable(status?: number): CombinedError {
  const response = status === undefined ? undefined : new Response('', { status });
  return new CombinedError({ networkError: new Error('failed'), response });
}

function result(error: CombinedError | undefined, kind: 'query' | 'mutation' = 'query'): OperationResult {
  const operation = makeOperation(kind, createRequest(gql`{ __typename }`, {}), {
    url: '/graphql',
    requestPolicy: 'cache-and-network',
  });
  return { operation, ...(error !== undefined && { error }), data: undefined, stale: false, hasNext: false };
}

test.each([
  ['a refused query', failure('RATE_LIMITED'), true],
  ['an unavailable Postgres', failure('SERVICE_UNAVAILABLE'), true],
  ['a wrong query', failure('BAD_USER_INPUT'), false],
  ['no connection', unreachable(), true],
  ['a page of a proxy', unreachable(200), true],
  ['a proxy without its server', unreachable(502), true],
  ['a proxy that refuses many requests', unreachable(429), true],
  ['a credential that is no longer valid', unreachable(401), false],
])('%s is temporary, or not', (_, error, expected) => {
  expect(isTemporary(error)).toBe(expected);
});

test('a query that failed for a temporary reason is executed again once, from the network, after five seconds', () => {
  vi.useFakeTimers();
  const reexecute = vi.fn();
  const retry = retryQueries(reexecute);
  const failed = result(failure('SERVICE_UNAVAILABLE'));
  retry(failed);
  retry(failed);
  vi.advanceTimersByTime(4_999);
  expect(reexecute).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(reexecute).toHaveBeenCalledOnce();
  expect(reexecute.mock.calls[0]?.[0]).toMatchObject({
    key: failed.operation.key,
    context: { requestPolicy: 'network-only' },
  });
  retry(failed);
  vi.advanceTimersByTime(5_000);
  expect(reexecute).toHaveBeenCalledTimes(2);
});

test('a mutation, an answered query and one that cannot succeed are not executed again', () => {
  vi.useFakeTimers();
  const reexecute = vi.fn();
  const retry = retryQueries(reexecute);
  retry(result(failure('SERVICE_UNAVAILABLE'), 'mutation'));
  retry(result(undefined));
  retry(result(failure('BAD_USER_INPUT')));
  vi.runAllTimers();
  expect(reexecute).not.toHaveBeenCalled();
});
