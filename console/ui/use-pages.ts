import { useCallback, useMemo, useState } from 'react';
import { type AnyVariables, type CombinedError, type TypedDocumentNode, useClient, useQuery } from 'urql';

type Page<Row> = {
  readonly nodes: readonly Row[];
  readonly pageInfo: { readonly endCursor?: string | null; readonly hasNextPage: boolean };
};

type PagesOptions<Data, Variables extends AnyVariables, Row> = {
  readonly query: TypedDocumentNode<Data, Variables & { first: number; after?: string | null }>;
  readonly variables: Variables;
  readonly pageOf: (data: Data) => Page<Row>;
};

export type Pages<Row> = {
  readonly rows: readonly Row[];
  readonly error: CombinedError | undefined;
  readonly isLoading: boolean;
  /** Reads one more page, for the end of a list; undefined at the last one. */
  readonly loadMore: (() => void) | undefined;
  /** Reads the first page again. */
  readonly refresh: () => void;
};

const FIRST = 100;
const MAX_ROWS = 20_000;

/** The rows of a connection, page by page. Other variables start again. */
export function usePages<Data, Variables extends AnyVariables, Row>(
  options: PagesOptions<Data, Variables, Row>,
): Pages<Row> {
  const { query, variables, pageOf } = options;
  const client = useClient();
  // `as`: the two members that this function adds.
  const firstVariables = { ...variables, first: FIRST } as Variables & { first: number };
  const [{ data: answer, error }, execute] = useQuery<Data, Variables & { first: number }>({
    query,
    variables: firstVariables,
  });
  // Null if the server refused the query.
  const data = answer ?? undefined;
  const key = JSON.stringify(variables);
  const [more, setMore] = useState<{ key: string; nodes: readonly Row[]; info: Page<Row>['pageInfo'] }>();
  const [isLoadingMore, setLoadingMore] = useState(false);
  const first = data === undefined ? undefined : pageOf(data);
  const later = more?.key === key ? more : undefined;
  const rows = useMemo(() => [...(first?.nodes ?? []), ...(later?.nodes ?? [])], [first, later]);
  const info = later?.info ?? first?.pageInfo;
  const loadMore = async () => {
    if (isLoadingMore || info?.endCursor == null) return;
    setLoadingMore(true);
    const next = await client
      .query(query, { ...firstVariables, after: info.endCursor }, { requestPolicy: 'network-only' })
      .toPromise();
    setLoadingMore(false);
    if (next.data == null) return;
    const page = pageOf(next.data);
    setMore({ key, nodes: [...(later?.nodes ?? []), ...page.nodes], info: page.pageInfo });
  };
  const refresh = useCallback(() => {
    setMore(undefined);
    execute({ requestPolicy: 'network-only' });
  }, [execute]);
  return {
    rows,
    error: data === undefined ? error : undefined,
    isLoading: data === undefined && error === undefined,
    loadMore: info?.hasNextPage === true && rows.length < MAX_ROWS ? () => void loadMore() : undefined,
    refresh,
  };
}
