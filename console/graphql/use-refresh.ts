import { useEffect } from 'react';
import { stringifyDocument, type UseQueryExecute } from 'urql';
import { LoggedAttemptsDocument, type LoggedAttemptsSubscription } from '../generated/graphql.ts';
import { useLiveClient } from './use-clients.tsx';

type RefreshOptions = {
  /** Attempts of a subscription, of one of its deliveries, or of a tenant; by default every attempt that the credential may see. */
  readonly subscriptionId?: string | undefined;
  readonly deliveryId?: string;
  readonly tenant?: string | undefined;
  /** False while it is not known which attempts are meant. Default: true. */
  readonly isActive?: boolean;
  /** Milliseconds for which attempts are collected before the query is read again. */
  readonly collectMs: number;
};

/** Reads a query again when attempts are logged, and after each new connection, which may have missed some. */
export function useRefresh(refresh: UseQueryExecute, options: RefreshOptions): void {
  const { subscriptionId, deliveryId, tenant, isActive = true, collectMs } = options;
  const live = useLiveClient();
  useEffect(() => {
    if (!isActive) return undefined;
    let timer: number | undefined;
    const read = () => {
      timer ??= window.setTimeout(() => {
        timer = undefined;
        refresh({ requestPolicy: 'network-only' });
      }, collectMs);
    };
    const filter = {
      ...(tenant !== undefined && { tenant }),
      ...(subscriptionId !== undefined && { subscriptionIds: [subscriptionId] }),
    };
    const stop = live.subscribe<LoggedAttemptsSubscription>(
      { query: stringifyDocument(LoggedAttemptsDocument), variables: { filter } },
      {
        next: ({ data }) => {
          if (deliveryId === undefined || data?.deliveryLog.deliveryId === deliveryId) read();
        },
        error: () => undefined,
        complete: () => undefined,
      },
    );
    const forget = live.on('connected', read);
    return () => {
      stop();
      forget();
      window.clearTimeout(timer);
    };
  }, [live, refresh, subscriptionId, deliveryId, tenant, isActive, collectMs]);
}
