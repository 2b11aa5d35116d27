import { useEffect, useState } from 'react';
import { type CombinedError, useClient } from 'urql';
import { DeliverThese } from '../events/deliver-these.tsx';
import type { SubscriptionSettingsFragment } from '../generated/graphql.ts';
import { useStore } from '../graphql/store.ts';
import { preferences } from '../shell/preferences.ts';
import { Button } from '../ui/button.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { exactTime } from '../ui/format.ts';
import { ErrorState, SkeletonRows } from '../ui/states.tsx';
import { missedEventsWords as words } from './messages.ts';
import { findMissedEvents, type MissedEvents } from './missed-events.ts';

type DeliverMissedProps = { readonly subscription: SubscriptionSettingsFragment; readonly onClose: () => void };

/** The place in the past that is examined: events before this one; undefined: the latest ones. */
type Place = MissedEvents['oldest'];
type Search = { readonly subscription: SubscriptionSettingsFragment; readonly place: Place };
type Found = { readonly search: Search; readonly result: MissedEvents | CombinedError };

/** For a subscription that was activated again or got other event types: the past events that it would get now. */
export function DeliverMissed({ subscription: current, onClose }: DeliverMissedProps) {
  const client = useClient();
  const { zone } = useStore(preferences);
  const [search, setSearch] = useState<Search>({ subscription: current, place: undefined });
  // Pushed changes of its deliveries are other objects. The page can show the settings before a change for a moment.
  if (selectionOf(current) !== selectionOf(search.subscription)) setSearch({ subscription: current, place: undefined });
  const { subscription, place } = search;
  const [found, setFound] = useState<Found>();
  useEffect(() => {
    let isOver = false;
    void findMissedEvents(client, search.subscription, search.place?.id).then((result) => {
      if (!isOver) setFound({ search, result });
    });
    return () => {
      isOver = true;
    };
  }, [client, search]);
  const result = found?.search === search ? found.result : undefined;
  if (result === undefined || 'message' in result) {
    return (
      <Dialog title={words.title} onClose={onClose}>
        {result === undefined ? <SkeletonRows count={2} /> : <ErrorState error={result} isRetried={false} />}
      </Dialog>
    );
  }
  const timeOf = (at: string) => exactTime(Date.parse(at), zone);
  const { ids, examined, oldest } = result;
  const scope = { events: examined, before: place === undefined ? undefined : timeOf(place.createdAt) };
  return (
    <DeliverThese
      title={words.title}
      text={ids.length === 0 ? words.none(scope) : words.missed(ids.length, scope)}
      more={`${oldest === undefined ? words.all : words.older(timeOf(oldest.createdAt))} ${words.ended}`}
      actions={
        oldest !== undefined && (
          <Button onClick={() => setSearch({ subscription, place: oldest })}>{words.lookBack}</Button>
        )
      }
      subscriptionId={subscription.id}
      eventIds={ids}
      onClose={onClose}
    />
  );
}

/** The settings that select events. */
function selectionOf({ eventTypes, filter }: SubscriptionSettingsFragment): string {
  return JSON.stringify([eventTypes, filter]);
}
