import { useQuery } from 'urql';
import { FailedPathsDocument, type FailedPathsQuery } from '../generated/graphql.ts';

type EventKey = { readonly id: string; readonly tenant: string };

/** The conditions of a filter that the data of an event does not match; undefined during the read and without a filter. */
export function useFailedPaths({ id, tenant }: EventKey, filter: unknown): FailedPathsQuery['testFilter'] | undefined {
  const [{ data }] = useQuery({
    query: FailedPathsDocument,
    variables: { filter, id, tenant },
    pause: filter == null,
    // The data of an event never changes, so neither does the result.
    requestPolicy: 'cache-first',
  });
  return filter == null ? undefined : data?.testFilter;
}
