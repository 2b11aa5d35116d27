import { type ReactNode, useState } from 'react';
import { useQuery } from 'urql';
import { useLocation } from 'wouter';
import { DeliverAnyway } from '../events/deliver-anyway.tsx';
import {
  type AttemptDetailsFragment,
  CancelDeliveryDocument,
  DeliveryDetailsDocument,
  type DeliveryDetailsQuery,
  RetryDeliveryDocument,
  SelectedAttemptDocument,
  WatchDeliveriesDocument,
  WatchSubscriptionsDocument,
} from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { useWatchedQuery } from '../graphql/use-changes.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { type ChangeStream, changeStream } from '../graphql/watch-changes.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { IS_PORTAL } from '../shell/front-end.ts';
import { Button } from '../ui/button.tsx';
import { CopyButton } from '../ui/copy.tsx';
import { Endpoint } from '../ui/endpoint.tsx';
import { Facts } from '../ui/facts.tsx';
import { FailureMessage } from '../ui/field.tsx';
import { Id } from '../ui/id.tsx';
import { Link } from '../ui/link.tsx';
import { announce } from '../ui/live-region.tsx';
import { DeliveryOutcome } from '../ui/outcome.tsx';
import { ObjectState } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import { AttemptView } from './attempt-view.tsx';
import { CompareAttempts } from './compare-attempts.tsx';
import { curlCommand } from './curl.ts';
import styles from './delivery-view.module.css';
import { Timeline } from './timeline.tsx';
import { useAttempts } from './use-attempts.ts';
import { useRequestBody } from './use-request-body.ts';
import { Waits } from './waits.tsx';

const words = messages.delivery;

export type DeliveryDetails = NonNullable<DeliveryDetailsQuery['delivery']>;

type DeliveryViewProps = {
  readonly id: string;
  readonly attemptId: string | undefined;
  readonly onAttempt: (id: string) => void;
  /** The heading, which differs between the page and the panel. */
  readonly heading: (actions: ReactNode) => ReactNode;
};

/** One delivery: its state, its attempts, and the request and response of one of them. Pushed updates keep it current. */
export function DeliveryView({ id, attemptId, onAttempt, heading }: DeliveryViewProps) {
  const [{ data, error, fetching }] = useWatchedQuery({
    query: DeliveryDetailsDocument,
    variables: { id },
    streams: streamsOf,
    collectMs: 0,
  });
  const delivery = data?.delivery ?? undefined;
  const { attempts, loadOlder } = useAttempts(delivery);
  const selected = useSelectedAttempt({ delivery, attempts }, attemptId);
  if (delivery === undefined) {
    return (
      <>
        {heading(null)}
        <ObjectState
          error={data === undefined ? error : undefined}
          isLoading={fetching || data === undefined}
          title={words.notFound}
        >
          {words.notFoundHint}
        </ObjectState>
      </>
    );
  }
  const attempt = selected ?? attempts[0];
  return (
    <div className={styles.view}>
      {heading(
        <>
          {attempt !== undefined && <CopyCurl attempt={attempt} />}
          {attempt !== undefined && <CompareAttempts attempts={attempts} selected={attempt} />}
          <Actions delivery={delivery} />
        </>,
      )}
      <DeliveryFacts delivery={delivery} />
      <div className={attempt === undefined ? styles.alone : styles.parts}>
        <Timeline
          delivery={delivery}
          attempts={attempts}
          onOlder={loadOlder}
          selectedId={attempt?.id}
          onSelect={onAttempt}
        />
        {attempt !== undefined && <AttemptView attempt={attempt} />}
      </div>
    </div>
  );
}

type Read = {
  readonly delivery: DeliveryDetails | undefined;
  readonly attempts: readonly AttemptDetailsFragment[];
};

/** The selected attempt. It is read by its id if a link leads to one that is not among the attempts read so far. */
function useSelectedAttempt({ delivery, attempts }: Read, id: string | undefined) {
  const known = attempts.find((attempt) => attempt.id === id);
  const isUnknown = delivery !== undefined && id !== undefined && known === undefined;
  const [{ data }] = useQuery({ query: SelectedAttemptDocument, variables: { id: id ?? '' }, pause: !isUnknown });
  const read = data?.attempt;
  return known ?? (isUnknown && read?.id === id && read.deliveryId === delivery.id ? read : undefined);
}

/** The changes of a delivery and of its subscription, whose pause or open circuit changes the wait reason. */
function streamsOf({ delivery }: DeliveryDetailsQuery, changed: () => void): readonly ChangeStream[] {
  if (delivery == null) return [];
  const { id, tenant, subscription } = delivery;
  return [
    changeStream({
      document: WatchDeliveriesDocument,
      filter: { tenant, ids: [id] },
      onChange: changed,
    }),
    changeStream({
      document: WatchSubscriptionsDocument,
      filter: { tenant, subscriptionIds: [subscription.id] },
      onChange: changed,
    }),
  ];
}

/** A button that copies the request as a curl command, once the body was read. */
function CopyCurl({ attempt: { id, url, requestHeaders: headers } }: { readonly attempt: AttemptDetailsFragment }) {
  const read = useRequestBody(id);
  if (read.state !== 'read') return null;
  return <CopyButton text={curlCommand({ url, headers, body: read.body })}>{messages.copyCurl}</CopyButton>;
}

function DeliveryFacts({ delivery }: { readonly delivery: DeliveryDetails }) {
  const { event, subscription, status, waitingFor } = delivery;
  return (
    <Facts
      facts={[
        { name: messages.columns.status, value: <DeliveryOutcome status={status} waitingFor={waitingFor} /> },
        delivery.nextAttemptAt != null && {
          name: words.waits,
          value: <Waits {...delivery} nextAttemptAt={delivery.nextAttemptAt} />,
        },
        {
          name: words.event,
          value:
            event == null ? (
              words.eventGone
            ) : (
              <Link to={paths.event(event.tenant, event.id)}>
                {visibleLine(event.type)} <code>{visibleLine(event.id)}</code>
              </Link>
            ),
        },
        {
          name: words.subscription,
          value: (
            <Link to={paths.subscription(subscription.id)}>
              <Endpoint url={subscription.url} />
            </Link>
          ),
        },
        !IS_PORTAL && { name: messages.columns.tenant, value: visibleLine(delivery.tenant) },
        { name: words.created, value: <Time at={delivery.createdAt} /> },
        delivery.completedAt != null && { name: words.ended, value: <Time at={delivery.completedAt} /> },
        delivery.replay != null && { name: words.replay, value: <Id value={delivery.replay.id} /> },
      ]}
    />
  );
}

/** Retry, cancel and deliver again, if the state and the credential permit them. */
function Actions({ delivery }: { readonly delivery: DeliveryDetails }) {
  const { canWrite, seesAllSubscriptions } = useViewer();
  const [, navigate] = useLocation();
  const [isDelivering, setDelivering] = useState(false);
  const retry = useAction(RetryDeliveryDocument, (data) => data.retryDelivery);
  const cancel = useAction(CancelDeliveryDocument, (data) => data.cancelDelivery);
  const { id, status, event, subscription } = delivery;
  const canRetry = (status === 'PENDING' || status === 'FAILURE') && event != null;
  const isBusy = retry.isRunning || cancel.isRunning;
  const onRetry = async () => {
    if ((await retry.run({ id })) !== undefined) announce(words.retrying);
  };
  const onCancel = async () => {
    if ((await cancel.run({ id })) !== undefined) announce(words.cancelled);
  };
  if (!canWrite) return null;
  return (
    <>
      {/* A cancelled delivery stays cancelled; its event gets a new one. */}
      {status === 'CANCELLED' && event != null && seesAllSubscriptions && (
        <Button icon="delivery" onClick={() => setDelivering(true)}>
          {words.deliverAgain}
        </Button>
      )}
      {isDelivering && event != null && (
        <DeliverAnyway
          event={event}
          subscription={subscription}
          onClose={() => setDelivering(false)}
          onDelivered={() => navigate(paths.event(event.tenant, event.id))}
        />
      )}
      {canRetry && (
        <Button icon="replay" disabled={isBusy} onClick={onRetry}>
          {words.retry}
        </Button>
      )}
      {status === 'PENDING' && (
        <Button kind="danger" disabled={isBusy} onClick={onCancel}>
          {words.cancel}
        </Button>
      )}
      <FailureMessage failure={retry.failure ?? cancel.failure} />
    </>
  );
}
