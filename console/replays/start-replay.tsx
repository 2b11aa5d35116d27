import { useLocation } from 'wouter';
import { StartReplayDocument } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { paths } from '../paths.ts';
import { CountedReplay } from './counted-replay.tsx';
import { JobForm } from './job-form.tsx';
import { replaysWords as words } from './messages.ts';

type StartReplayProps = {
  readonly tenant: string;
  /** The subscription whose deliveries are replayed; undefined: all subscriptions of the tenant. */
  readonly subscriptionId?: string;
  readonly types?: string;
  readonly status?: 'FAILURE' | 'CANCELLED';
  readonly onClose: () => void;
};

/** Counts the deliveries first; the replay starts with the same input. */
export function StartReplay(props: StartReplayProps) {
  const { tenant, subscriptionId = '', types = '', status = 'FAILURE', onClose } = props;
  const [, navigate] = useLocation();
  const action = useAction(StartReplayDocument, (data) => data.startReplay);
  return (
    <JobForm
      title={words.start}
      hint={words.startHint}
      startCounted={words.startCounted}
      statuses={['FAILURE', 'CANCELLED', 'SUCCESS', '']}
      initial={{ tenant, subscription: subscriptionId, types, status, rate: '50' }}
      noneHint={words.noneHint}
      action={action}
      run={async (input) => (await action.run({ input, isCounted: input.dryRun }))?.replay}
      describe={(counted) => <CountedReplay replay={counted} />}
      onStarted={(id) => navigate(paths.replay(id))}
      onClose={onClose}
    />
  );
}
