import { useQuery } from 'urql';
import { RequestBodyDocument } from '../generated/graphql.ts';

/** The body of an attempt, byte for byte; undefined while it is read, null once the event is no longer kept. */
export function useRequestBody(attemptId: string): string | null | undefined {
  // It never changes. Only the body of the selected attempt is read: fifty of them can be 50 MiB.
  const [{ data }] = useQuery({
    query: RequestBodyDocument,
    variables: { attemptId },
    requestPolicy: 'cache-first',
  });
  if (data === undefined || data.attempt?.id !== attemptId) return undefined;
  return data.attempt.requestBody ?? null;
}
