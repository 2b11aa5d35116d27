import { useQuery, useSubscription } from 'urql';
import {
  CancelJobDocument,
  ChangeJobRateDocument,
  JobChangesDocument,
  JobDetailsDocument,
  type JobRowFragment,
} from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { ChangeRate } from '../replays/change-rate.tsx';
import { listParams } from '../replays/filter-in-words.ts';
import { JobProgress } from '../replays/job-progress.tsx';
import { replaysWords } from '../replays/messages.ts';
import { PageTitle } from '../shell/layout.tsx';
import { Button } from '../ui/button.tsx';
import { Facts } from '../ui/facts.tsx';
import { FailureMessage } from '../ui/field.tsx';
import { count } from '../ui/format.ts';
import { Id } from '../ui/id.tsx';
import { Link } from '../ui/link.tsx';
import { ReplayOutcome } from '../ui/outcome.tsx';
import { ObjectState } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import { jobsWords as words } from './messages.ts';

/** One bulk job; its progress is pushed. */
export function DeliveryJobPage({ id }: { readonly id: string }) {
  const [{ data, error, fetching }] = useQuery({ query: JobDetailsDocument, variables: { id } });
  const job = data?.deliveryJob;
  if (job == null) {
    return (
      <>
        <PageTitle title={words.unknown} />
        <ObjectState error={error} isLoading={fetching} title={words.notFound}>
          {words.notFoundHint}
        </ObjectState>
      </>
    );
  }
  return <Job job={job} />;
}

function Job({ job }: { readonly job: JobRowFragment }) {
  const { canWrite } = useViewer();
  const isRunning = job.status === 'RUNNING';
  // Each change is written into the cache, which the query of the page reads.
  useSubscription({ query: JobChangesDocument, variables: { id: job.id }, pause: !isRunning });
  const cancel = useAction(CancelJobDocument, (data) => data.cancelDeliveryJob);
  return (
    <>
      <PageTitle title={words.one[job.kind]}>
        <Link to={paths.deliveries({ tenant: job.tenant, ...listParams(job.filter) })}>{words.deliveries}</Link>
        {canWrite && isRunning && (
          <>
            <ChangeRate
              id={job.id}
              rate={job.ratePerSecond}
              mutation={ChangeJobRateDocument}
              resultOf={(data) => data.changeDeliveryJobRate}
            />
            <Button kind="danger" disabled={cancel.isRunning} onClick={() => void cancel.run({ id: job.id })}>
              {words.cancel}
            </Button>
          </>
        )}
      </PageTitle>
      <FailureMessage failure={cancel.failure} />
      <JobProgress filter={job.filter} done={job.changedCount + job.skippedCount} all={job.deliveryCount} />
      <Facts
        facts={[
          { name: messages.columns.status, value: <ReplayOutcome status={job.status} /> },
          { name: words.changed[job.kind], value: count(job.changedCount) },
          { name: replaysWords.skipped, value: <span title={words.skippedHint}>{count(job.skippedCount)}</span> },
          { name: replaysWords.rate, value: replaysWords.perSecond(job.ratePerSecond) },
          { name: messages.columns.tenant, value: visibleLine(job.tenant) },
          { name: replaysWords.started, value: <Time at={job.createdAt} /> },
          job.completedAt != null && { name: messages.delivery.ended, value: <Time at={job.completedAt} /> },
          { name: messages.columns.id, value: <Id value={job.id} /> },
        ]}
      />
    </>
  );
}
