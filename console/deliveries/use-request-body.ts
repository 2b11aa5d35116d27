import { useQuery } from 'urql';
import { RequestBodyDocument } from '../generated/graphql.ts';

/** The request body of an attempt, byte for byte; undefined while it is read, null if the event was deleted. */
export function useRequestBody(attemptId: string): string | null | undefined {
  // The body never changes. Only that of the selected attempt is read, because fifty bodies can have 50 MiB.
  const [{ data }] = useQuery({
    query: RequestBodyDocument,
    variables: { attemptId },
    requestPolicy: 'cache-first',
  });
  if (data === undefined || data.attempt?.id !== attemptId) return undefined;
  return data.attempt.requestBody ?? null;
}
