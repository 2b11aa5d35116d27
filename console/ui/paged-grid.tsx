import { Grid, type GridProps } from './grid.tsx';
import { ErrorState, SkeletonRows } from './states.tsx';
import type { Pages } from './use-pages.ts';

type PagedGridProps<Row> = Omit<GridProps<Row>, 'rows' | 'onEnd' | 'inserted'> & { readonly pages: Pages<Row> };

/** The rows of usePages: a skeleton while the first page is read, the error if that failed, and further pages at the end. */
export function PagedGrid<Row>({ pages, ...rest }: PagedGridProps<Row>) {
  if (pages.error !== undefined) return <ErrorState error={pages.error} />;
  if (pages.isLoading) return <SkeletonRows count={16} />;
  return <Grid {...rest} rows={pages.rows} onEnd={pages.loadMore} />;
}
