import { useState } from 'react';
import { useLocation } from 'wouter';
import {
  type JobFilter,
  ReplayListDocument,
  type ReplayRowFragment,
  ReplayRowsDocument,
} from '../generated/graphql.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { useTenantColumns, useTenantFilter } from '../shell/acting-tenant.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { Button } from '../ui/button.tsx';
import { type Column, TENANT_WIDTH } from '../ui/grid.tsx';
import { Link } from '../ui/link.tsx';
import { ReplayOutcome } from '../ui/outcome.tsx';
import { PagedGrid } from '../ui/paged-grid.tsx';
import { EmptyState } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { liveRows, usePages } from '../ui/use-pages.ts';
import { visibleLine } from '../ui/visible-text.ts';
import { JobDeliveries, ListedProgress } from './job-progress.tsx';
import { replaysWords as words } from './messages.ts';
import { StartReplay } from './start-replay.tsx';

const REPLAYS: Pick<JobFilter, 'kinds'> = { kinds: ['REPLAY'] };

const columnNames = messages.columns;
const COLUMNS: readonly Column<ReplayRowFragment>[] = [
  {
    key: 'created',
    header: columnNames.created,
    width: '92px',
    from: 420,
    cell: ({ createdAt }) => <Time at={createdAt} />,
  },
  {
    key: 'status',
    header: columnNames.status,
    width: '112px',
    cell: ({ status }) => <ReplayOutcome status={status} />,
  },
  {
    key: 'filter',
    header: words.deliveries,
    width: 'minmax(140px, 2fr)',
    cell: ({ filter }) => <JobDeliveries filter={filter} />,
  },
  {
    key: 'progress',
    header: words.progress,
    width: '140px',
    align: 'end',
    from: 620,
    cell: ({ status, replayedCount, skippedCount, deliveryCount }) => (
      <ListedProgress isDryRun={status === 'DRY_RUN'} done={replayedCount + skippedCount} all={deliveryCount} />
    ),
  },
  {
    key: 'tenant',
    header: columnNames.tenant,
    width: TENANT_WIDTH,
    from: 760,
    cell: ({ tenant }) => visibleLine(tenant),
  },
];

/** Replays, newest first. */
export function ReplaysPage() {
  const columns = useTenantColumns(COLUMNS);
  const [params] = useUrlParams();
  const [, navigate] = useLocation();
  const { canWrite } = useViewer();
  const [isStarting, setStarting] = useState(false);
  const filter = useTenantFilter(params.get('tenant'));
  const pages = usePages({
    query: ReplayListDocument,
    variables: { filter },
    pageOf: (data) => data.replays,
    live: liveRows({
      document: ReplayRowsDocument,
      filter: { ...filter, ...REPLAYS },
      rowOf: ({ jobChanges }) => jobChanges.replay,
      keyOf: ({ id }) => id,
      orderKeyOf: ({ createdAt }) => createdAt,
    }),
  });
  return (
    <>
      <PageTitle title={words.title}>
        {canWrite && (
          <Button kind="primary" icon="replay" onClick={() => setStarting(true)}>
            {words.start}
          </Button>
        )}
      </PageTitle>
      <PagedGrid
        label={words.label}
        columns={columns}
        pages={pages}
        rowKey={({ id }) => id}
        onOpen={({ id }) => navigate(paths.replay(id))}
        empty={
          <EmptyState title={words.empty}>
            {words.emptyHint} <Link to={paths.deliveries({ status: 'FAILURE' })}>{words.failedDeliveries}</Link>
          </EmptyState>
        }
      />
      {isStarting && <StartReplay tenant={filter.tenant ?? ''} onClose={() => setStarting(false)} />}
    </>
  );
}
