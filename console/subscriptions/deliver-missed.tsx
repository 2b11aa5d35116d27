import { useQuery } from 'urql';
import { DeliverThese } from '../events/deliver-these.tsx';
import { MATCHES_EVERYTHING } from '../filter-playground/compare.ts';
import { MissedEventsDocument, type SubscriptionSettingsFragment } from '../generated/graphql.ts';
import { Dialog } from '../ui/dialog.tsx';
import { ErrorState, SkeletonRows } from '../ui/states.tsx';
import { missedEventsWords as words } from './messages.ts';
import { missedEvents } from './missed-events.ts';

type DeliverMissedProps = { readonly subscription: SubscriptionSettingsFragment; readonly onClose: () => void };

/** For a subscription that was activated again or got other event types: the past events that it would get now. */
export function DeliverMissed({ subscription, onClose }: DeliverMissedProps) {
  const { id, tenant, filter, eventTypes } = subscription;
  const [{ data, error }] = useQuery({
    query: MissedEventsDocument,
    variables: { id, tenant, filter: filter ?? MATCHES_EVERYTHING, eventTypes },
    requestPolicy: 'network-only',
  });
  if (data == null) {
    return (
      <Dialog title={words.title} onClose={onClose}>
        {error === undefined ? <SkeletonRows count={2} /> : <ErrorState error={error} />}
      </Dialog>
    );
  }
  const { ids, examined } = missedEvents(data, subscription);
  return (
    <DeliverThese
      title={words.title}
      text={ids.length === 0 ? words.none(examined) : words.missed(ids.length, examined)}
      subscriptionId={id}
      eventIds={ids}
      onClose={onClose}
    />
  );
}
