import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import { type AnyVariables, type CombinedError, type TypedDocumentNode, useClient, useQuery } from 'urql';
import { useChanges } from '../graphql/use-changes.ts';
import { type ChangeStream, changeStream } from '../graphql/watch-changes.ts';
import { mergeRows, type RowRules } from './merge-rows.ts';
import { createPushedRows } from './pushed-rows.ts';

type Page<Row> = {
  readonly nodes: readonly Row[];
  readonly pageInfo: { readonly endCursor?: string | null; readonly hasNextPage: boolean };
};

type PagesOptions<Data, Variables extends AnyVariables, Row> = {
  readonly query: TypedDocumentNode<Data, Variables & { first: number; after?: string | null }>;
  readonly variables: Variables;
  readonly pageOf: (data: Data) => Page<Row>;
  /** The stream of the rows that change. Without it, the list is as it was read. */
  readonly live?: LiveRows<Row>;
  /** At most 250. */
  readonly pageSize?: number;
};

/** Where the changes of the rows come from; made by `liveRows`. */
type LiveRows<Row> = RowRules<Row> & { readonly stream: (onRow: (row: Row) => void) => ChangeStream };

/** Checks the types of the stream of a list. */
export function liveRows<Data, Filter extends object, Row>(
  options: RowRules<Row> & {
    readonly document: TypedDocumentNode<Data, { filter?: Filter | null; after?: string | null }>;
    readonly filter: Filter;
    /** Null: the change is of something else. */
    readonly rowOf: (data: Data) => Row | null | undefined;
  },
): LiveRows<Row> {
  const { document, filter, rowOf, ...rules } = options;
  const stream = (onRow: (row: Row) => void) =>
    changeStream({
      document,
      filter,
      onChange: (data) => {
        const row = rowOf(data);
        if (row != null) onRow(row);
      },
    });
  return { ...rules, stream };
}

export type Pages<Row> = {
  readonly rows: readonly Row[];
  readonly error: CombinedError | undefined;
  readonly isLoading: boolean;
  /** Reads one more page, for the end of a list; undefined at the last one. */
  readonly loadMore: (() => void) | undefined;
  /** Reads the first page again. */
  readonly refresh: () => void;
};

const PAGE_SIZE = 100;
const MAX_ROWS = 20_000;
/** Milliseconds after which a page that could not be read is read again. */
const RETRY_MS = 5_000;

/** The rows of a connection, page by page, with their changes. Other variables start again. */
export function usePages<Data, Variables extends AnyVariables, Row>(
  options: PagesOptions<Data, Variables, Row>,
): Pages<Row> {
  const { query, variables, pageOf, live, pageSize: first = PAGE_SIZE } = options;
  const client = useClient();
  const [pushed] = useState(() => createPushedRows<Row>());
  const changes = useSyncExternalStore(pushed.subscribe, pushed.get);
  const onRow = (row: Row) => {
    // More than the list holds: it is read again.
    if (pushed.get().size > MAX_ROWS) refresh();
    if (live !== undefined) pushed.add(live.keyOf(row), row);
  };
  const watch = useChanges(live === undefined ? [] : [live.stream(onRow)], pushed.clear);
  // `as`: the two members that this function adds.
  const firstVariables = { ...variables, first } as Variables & { first: number };
  const [answer, execute] = useQuery<Data, Variables & { first: number }>({
    query,
    variables: firstVariables,
    pause: watch === undefined,
  });
  const { data, error } = answer;
  const key = JSON.stringify([watch, variables]);
  const [more, setMore] = useState<{ key: string; nodes: readonly Row[]; info: Page<Row>['pageInfo'] }>();
  const [isLoadingMore, setLoadingMore] = useState(false);
  const firstPage = data && pageOf(data);
  const later = more?.key === key ? more : undefined;
  const read = useMemo(() => nodesOf(firstPage, later), [firstPage, later]);
  const info = later?.info ?? firstPage?.pageInfo;
  const loadMore = async () => {
    if (isLoadingMore || info?.endCursor == null) return;
    setLoadingMore(true);
    const next = await client
      .query(query, { ...firstVariables, after: info.endCursor }, { requestPolicy: 'network-only' })
      .toPromise();
    if (next.data === undefined) {
      // The end of the list is still in view, so that the page is read again.
      window.setTimeout(() => setLoadingMore(false), RETRY_MS);
      return;
    }
    setLoadingMore(false);
    const page = pageOf(next.data);
    setMore({ key, nodes: [...(later?.nodes ?? []), ...page.nodes], info: page.pageInfo });
  };
  const refresh = useCallback(() => {
    pushed.clear();
    setMore(undefined);
    execute({ requestPolicy: 'network-only' });
  }, [execute, pushed]);
  const hasMore = isMoreAfter(info, read.length);
  return {
    rows: live === undefined ? read : mergeRows(read, { ...live, changes, hasMore }),
    error: data === undefined ? error : undefined,
    isLoading: data === undefined && error === undefined,
    loadMore: hasMore && isCurrent(answer, watch) ? () => void loadMore() : undefined,
    refresh,
  };
}

function nodesOf<Row>(...pages: readonly (Pick<Page<Row>, 'nodes'> | undefined)[]): readonly Row[] {
  return pages.flatMap((page) => page?.nodes ?? []);
}

/** Until the first page is read, the data is an old answer, also one with other variables: its end leads to other rows. */
function isCurrent({ fetching, stale }: { fetching: boolean; stale: boolean }, watch: number | undefined): boolean {
  return watch !== undefined && !fetching && !stale;
}

function isMoreAfter(info: Page<unknown>['pageInfo'] | undefined, rowCount: number): boolean {
  return info?.hasNextPage === true && rowCount < MAX_ROWS;
}

/** Reads page after page, for a list of bounded size that is arranged as a whole. */
export function useAllPages<Row>({ loadMore }: Pages<Row>): void {
  // It does nothing while a page is read.
  useEffect(() => loadMore?.());
}
