import { useState } from 'react';
import { useLocation } from 'wouter';
import { type JobFilter, JobListDocument, type JobRowFragment, JobRowsDocument } from '../generated/graphql.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { JobDeliveries, ListedProgress } from '../replays/job-progress.tsx';
import { replaysWords } from '../replays/messages.ts';
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
import { jobsWords as words } from './messages.ts';
import { CancelMany, RetryMany } from './start-job.tsx';

const JOBS: Pick<JobFilter, 'kinds'> = { kinds: ['RETRY', 'CANCEL'] };

const columnNames = messages.columns;
const COLUMNS: readonly Column<JobRowFragment>[] = [
  {
    key: 'created',
    header: columnNames.created,
    width: 'minmax(72px, 92px)',
    cell: ({ createdAt }) => <Time at={createdAt} />,
  },
  { key: 'kind', header: words.kind, width: 'minmax(56px, 72px)', cell: ({ kind }) => words.kinds[kind] },
  {
    key: 'status',
    header: columnNames.status,
    width: '112px',
    cell: ({ status }) => <ReplayOutcome status={status} />,
  },
  {
    key: 'filter',
    header: replaysWords.deliveries,
    width: 'minmax(140px, 2fr)',
    from: 520,
    cell: ({ filter }) => <JobDeliveries filter={filter} />,
  },
  {
    key: 'progress',
    header: replaysWords.progress,
    width: '140px',
    align: 'end',
    from: 640,
    cell: ({ status, changedCount, skippedCount, deliveryCount }) => (
      <ListedProgress isDryRun={status === 'DRY_RUN'} done={changedCount + skippedCount} all={deliveryCount} />
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

/** Jobs that retry or cancel many deliveries, newest first. */
export function DeliveryJobsPage() {
  const columns = useTenantColumns(COLUMNS);
  const [params] = useUrlParams();
  const [, navigate] = useLocation();
  const { canWrite } = useViewer();
  const [starting, setStarting] = useState<'retry' | 'cancel'>();
  const filter = useTenantFilter(params.get('tenant'));
  const pages = usePages({
    query: JobListDocument,
    variables: { filter },
    pageOf: (data) => data.deliveryJobs,
    live: liveRows({
      document: JobRowsDocument,
      filter: { ...filter, ...JOBS },
      rowOf: ({ jobChanges }) => jobChanges.deliveryJob,
      keyOf: ({ id }) => id,
      orderKeyOf: ({ createdAt }) => createdAt,
    }),
  });
  const job = { tenant: filter.tenant ?? '', subscriptionId: '', onClose: () => setStarting(undefined) };
  return (
    <>
      <PageTitle title={words.title}>
        {canWrite && (
          <>
            <Button onClick={() => setStarting('cancel')}>{words.cancelMany}</Button>
            <Button kind="primary" icon="replay" onClick={() => setStarting('retry')}>
              {words.retry}
            </Button>
          </>
        )}
      </PageTitle>
      <PagedGrid
        label={words.label}
        columns={columns}
        pages={pages}
        rowKey={({ id }) => id}
        onOpen={({ id }) => navigate(paths.job(id))}
        empty={
          <EmptyState title={words.empty}>
            {words.emptyHint} <Link to={paths.deliveries({ status: 'FAILURE' })}>{replaysWords.failedDeliveries}</Link>
          </EmptyState>
        }
      />
      {starting === 'retry' && <RetryMany {...job} />}
      {starting === 'cancel' && <CancelMany {...job} />}
    </>
  );
}
