import { type CombinedError, useQuery } from 'urql';
import { RequestBodyDocument, type RequestBodyQuery } from '../generated/graphql.ts';

export type RequestBody =
  | { readonly state: 'loading' }
  | { readonly state: 'failed'; readonly error: CombinedError }
  /** The attempt or its event was deleted, or the session hides bodies. */
  | { readonly state: 'none' }
  | { readonly state: 'read'; readonly body: string };

/** The request body of an attempt, byte for byte. */
export function useRequestBody(attemptId: string): RequestBody {
  // The body never changes. Only that of the selected attempt is read, because fifty bodies can have 50 MiB.
  const [result] = useQuery({
    query: RequestBodyDocument,
    variables: { attemptId },
    requestPolicy: 'cache-first',
  });
  return requestBodyOf(result);
}

type Result = {
  readonly data?: RequestBodyQuery | undefined;
  readonly error?: CombinedError | undefined;
  readonly fetching: boolean;
};

/** While another attempt is read, `data` is that of the last one. */
export function requestBodyOf({ data, error, fetching }: Result): RequestBody {
  if (fetching) return { state: 'loading' };
  if (error !== undefined) return { state: 'failed', error };
  const body = data?.attempt?.requestBody;
  return body == null ? { state: 'none' } : { state: 'read', body };
}
