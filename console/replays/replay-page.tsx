import { useQuery, useSubscription } from 'urql';
import {
  CancelReplayDocument,
  ReplayChangesDocument,
  ReplayDetailsDocument,
  type ReplayRowFragment,
} from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { PageTitle } from '../shell/layout.tsx';
import { Button } from '../ui/button.tsx';
import { Facts } from '../ui/facts.tsx';
import { FailureMessage } from '../ui/field.tsx';
import { count } from '../ui/format.ts';
import { Id } from '../ui/id.tsx';
import { ReplayOutcome } from '../ui/outcome.tsx';
import { ObjectState } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import { JobProgress } from './job-progress.tsx';
import { replaysWords as words } from './messages.ts';

/** One replay; its progress is pushed. */
export function ReplayPage({ id }: { readonly id: string }) {
  const [{ data, error, fetching }] = useQuery({ query: ReplayDetailsDocument, variables: { id } });
  const replay = data?.replay;
  if (replay == null) {
    return (
      <>
        <PageTitle title={words.one} />
        <ObjectState error={error} isLoading={fetching} title={words.notFound}>
          {words.notFoundHint}
        </ObjectState>
      </>
    );
  }
  return <Replay replay={replay} />;
}

function Replay({ replay }: { readonly replay: ReplayRowFragment }) {
  const { canWrite } = useViewer();
  const isRunning = replay.status === 'RUNNING';
  // Each change is written into the cache, which the query of the page reads.
  useSubscription({ query: ReplayChangesDocument, variables: { id: replay.id }, pause: !isRunning });
  const cancel = useAction(CancelReplayDocument, (data) => data.cancelReplay);
  const done = replay.replayedCount + replay.skippedCount;
  return (
    <>
      <PageTitle title={words.one}>
        {canWrite && isRunning && (
          <Button kind="danger" disabled={cancel.isRunning} onClick={() => void cancel.run({ id: replay.id })}>
            {words.cancel}
          </Button>
        )}
      </PageTitle>
      <FailureMessage failure={cancel.failure} />
      <JobProgress filter={replay.filter} done={done} all={replay.deliveryCount} />
      <Facts
        facts={[
          { name: messages.columns.status, value: <ReplayOutcome status={replay.status} /> },
          { name: words.created, value: count(replay.replayedCount) },
          { name: words.skipped, value: <span title={words.skippedHint}>{count(replay.skippedCount)}</span> },
          { name: words.rate, value: words.perSecond(replay.ratePerSecond) },
          { name: messages.columns.tenant, value: visibleLine(replay.tenant) },
          { name: words.started, value: <Time at={replay.createdAt} /> },
          replay.completedAt != null && { name: messages.delivery.ended, value: <Time at={replay.completedAt} /> },
          { name: messages.columns.id, value: <Id value={replay.id} length={24} /> },
        ]}
      />
    </>
  );
}
