import { useState } from 'react';
import { RetryMany } from '../delivery-jobs/start-job.tsx';
import type { DeliveryStatus } from '../generated/graphql.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { StartReplay } from '../replays/start-replay.tsx';
import { IS_PORTAL } from '../shell/front-end.ts';
import { Button } from '../ui/button.tsx';
import { deliveriesWords as words } from './messages.ts';

type StartManyProps = {
  /** The filter of the list, as far as a job can have it. */
  readonly status: DeliveryStatus | undefined;
  readonly tenant: string;
  readonly subscriptionId: string;
  readonly types: string;
};

/** Retries the failed deliveries of the list, or replays the cancelled ones: the form has the filter of the list. */
export function StartMany({ status, ...filter }: StartManyProps) {
  const { canWrite } = useViewer();
  const [isOpen, setOpen] = useState(false);
  const isCancelled = status === 'CANCELLED';
  // The pages of jobs and replays are none of the portal's.
  if (!canWrite || IS_PORTAL || (status !== 'FAILURE' && !isCancelled)) return null;
  const onClose = () => setOpen(false);
  return (
    <>
      <Button icon="replay" onClick={() => setOpen(true)}>
        {isCancelled ? words.replayMany : words.retryMany}
      </Button>
      {isOpen && !isCancelled && <RetryMany {...filter} onClose={onClose} />}
      {isOpen && isCancelled && <StartReplay {...filter} status={status} onClose={onClose} />}
    </>
  );
}
