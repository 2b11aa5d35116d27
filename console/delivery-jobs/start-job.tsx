import { useLocation } from 'wouter';
import { CancelDeliveriesDocument, RetryDeliveriesDocument } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { paths } from '../paths.ts';
import { JobForm } from '../replays/job-form.tsx';
import { jobsWords as words } from './messages.ts';

type StartJobProps = {
  readonly tenant: string;
  /** The subscription by which the list is filtered; empty: all subscriptions of the tenant. */
  readonly subscriptionId: string;
  /** The event types by which the list is filtered. Default: all. */
  readonly types?: string;
  readonly onClose: () => void;
};

/** Retries the deliveries that match a filter. */
export function RetryMany({ tenant, subscriptionId, types = '', onClose }: StartJobProps) {
  const [, navigate] = useLocation();
  const action = useAction(RetryDeliveriesDocument, (data) => data.retryDeliveries);
  return (
    <JobForm
      title={words.retry}
      hint={words.retryHint}
      startCounted={words.retryCounted}
      statuses={['FAILURE', 'PENDING']}
      initial={{ tenant, subscription: subscriptionId, types, status: 'FAILURE', rate: '50' }}
      action={action}
      run={async (input) => (await action.run({ input }))?.job}
      onStarted={(id) => navigate(paths.job(id))}
      onClose={onClose}
    />
  );
}

/** Cancels the pending deliveries that match a filter. */
export function CancelMany({ tenant, subscriptionId, onClose }: StartJobProps) {
  const [, navigate] = useLocation();
  const action = useAction(CancelDeliveriesDocument, (data) => data.cancelDeliveries);
  return (
    <JobForm
      title={words.cancelMany}
      hint={words.cancelHint}
      startCounted={words.cancelCounted}
      kind="danger"
      statuses={['PENDING']}
      initial={{ tenant, subscription: subscriptionId, types: '', status: 'PENDING', rate: '500' }}
      action={action}
      run={async (input) => (await action.run({ input }))?.job}
      onStarted={(id) => navigate(paths.job(id))}
      onClose={onClose}
    />
  );
}
