import { useSubscription } from 'urql';
import {
  CancelReplayDocument,
  ChangeReplayRateDocument,
  type DeliveryStatus,
  ReplayChangesDocument,
  ReplayDetailsDocument,
  type ReplayDetailsQuery,
  WatchDeliveriesDocument,
} from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { useWatchedQuery } from '../graphql/use-changes.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { type ChangeStream, changeStream } from '../graphql/watch-changes.ts';
import { messages } from '../messages.ts';
import { PageTitle } from '../shell/layout.tsx';
import { Button } from '../ui/button.tsx';
import { Facts } from '../ui/facts.tsx';
import { FailureMessage } from '../ui/field.tsx';
import { count } from '../ui/format.ts';
import { Id } from '../ui/id.tsx';
import { DELIVERY_TONES, Mark, ReplayOutcome } from '../ui/outcome.tsx';
import { ObjectState } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import { ChangeRate } from './change-rate.tsx';
import { JobProgress } from './job-progress.tsx';
import { skippedInWords, replaysWords as words } from './messages.ts';

type ReplayDetails = NonNullable<ReplayDetailsQuery['replay']>;

/** Milliseconds for which changes of deliveries are collected: each leads to a count of up to 1,000. */
const COLLECT_MS = 1_000;

/** One replay; its progress is pushed, and then the outcome of its deliveries. */
export function ReplayPage({ id }: { readonly id: string }) {
  const [{ data, error, fetching }] = useWatchedQuery({
    query: ReplayDetailsDocument,
    variables: { id },
    streams: streamsOf,
    collectMs: COLLECT_MS,
  });
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

/** The deliveries of the tenant since the start, as long as one of the replay can change. */
function streamsOf({ replay }: ReplayDetailsQuery, changed: () => void): readonly ChangeStream[] {
  if (replay == null) return [];
  const { status, tenant, createdAt, replayedCount, outcome } = replay;
  const { success, failure, cancelled, isExact } = outcome;
  if (status !== 'RUNNING' && isExact && success + failure + cancelled === replayedCount) return [];
  return [changeStream({ document: WatchDeliveriesDocument, filter: { tenant, from: createdAt }, onChange: changed })];
}

function Replay({ replay }: { readonly replay: ReplayDetails }) {
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
          <>
            <ChangeRate
              id={replay.id}
              rate={replay.ratePerSecond}
              mutation={ChangeReplayRateDocument}
              resultOf={(data) => data.changeReplayRate}
            />
            <Button kind="danger" disabled={cancel.isRunning} onClick={() => void cancel.run({ id: replay.id })}>
              {words.cancel}
            </Button>
          </>
        )}
      </PageTitle>
      <FailureMessage failure={cancel.failure} />
      <JobProgress filter={replay.filter} done={done} all={replay.deliveryCount} />
      <Facts
        facts={[
          { name: messages.columns.status, value: <ReplayOutcome status={replay.status} /> },
          { name: words.created, value: count(replay.replayedCount) },
          { name: words.outcome, value: <Outcome {...replay.outcome} /> },
          {
            name: words.skipped,
            value: replay.skippedCount === 0 ? count(0) : skippedInWords(replay.skippedBy),
          },
          { name: words.rate, value: words.perSecond(replay.ratePerSecond) },
          { name: messages.columns.tenant, value: visibleLine(replay.tenant) },
          { name: words.started, value: <Time at={replay.createdAt} /> },
          replay.completedAt != null && { name: messages.delivery.ended, value: <Time at={replay.completedAt} /> },
          { name: messages.columns.id, value: <Id value={replay.id} /> },
        ]}
      />
    </>
  );
}

const STATUSES = [
  ['SUCCESS', 'success'],
  ['FAILURE', 'failure'],
  ['PENDING', 'pending'],
  ['CANCELLED', 'cancelled'],
] as const satisfies readonly (readonly [DeliveryStatus, string])[];

/** The deliveries that the replay has created, by status. */
function Outcome({ isExact, ...counts }: ReplayDetails['outcome']) {
  const shown = STATUSES.filter(([, field]) => counts[field] > 0);
  if (shown.length === 0) return <>{messages.none}</>;
  return (
    <>
      {shown.map(([status, field]) => (
        <Mark key={status} tone={DELIVERY_TONES[status]}>
          {words.outcomeOf(messages.deliveryStatuses[status].toLowerCase(), counts[field], isExact)}
        </Mark>
      ))}
    </>
  );
}
