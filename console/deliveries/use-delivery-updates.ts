import { useEffect } from 'react';
import type { UseQueryExecute } from 'urql';
import { stringifyDocument } from 'urql';
import { DeliveryAttemptsDocument, type DeliveryAttemptsSubscription } from '../generated/graphql.ts';
import { useLiveClient } from '../graphql/use-clients.tsx';
import type { DeliveryDetails } from './delivery-view.tsx';

/** Reads the delivery again when one of its attempts is logged. */
export function useDeliveryUpdates(delivery: DeliveryDetails | undefined, refresh: UseQueryExecute): void {
  const live = useLiveClient();
  const id = delivery?.id;
  const subscriptionId = delivery?.subscription.id;
  useEffect(() => {
    if (id === undefined || subscriptionId === undefined) return undefined;
    const stop = live.subscribe<DeliveryAttemptsSubscription>(
      { query: stringifyDocument(DeliveryAttemptsDocument), variables: { subscriptionId } },
      {
        next: ({ data }) => {
          if (data?.deliveryLog.delivery?.id === id) refresh({ requestPolicy: 'network-only' });
        },
        error: () => undefined,
        complete: () => undefined,
      },
    );
    // An attempt may have been logged while the socket was reconnecting.
    const forget = live.on('connected', () => refresh({ requestPolicy: 'network-only' }));
    return () => {
      stop();
      forget();
    };
  }, [live, id, subscriptionId, refresh]);
}
