import { useEffect } from 'react';
import { stringifyDocument, type UseQueryExecute } from 'urql';
import { LoggedAttemptsDocument } from '../generated/graphql.ts';
import { useLiveClient } from './use-clients.tsx';

type RefreshOptions = {
  /** Attempts of this subscription; undefined: every attempt that the credential may see. */
  readonly subscriptionId?: string;
  /** Milliseconds for which attempts are collected before the query is read again. */
  readonly collectMs: number;
};

/** Reads a query again when attempts are logged, and after each new connection, which may have missed some. */
export function useRefresh(refresh: UseQueryExecute, { subscriptionId, collectMs }: RefreshOptions): void {
  const live = useLiveClient();
  useEffect(() => {
    let timer: number | undefined;
    const read = () => {
      timer ??= window.setTimeout(() => {
        timer = undefined;
        refresh({ requestPolicy: 'network-only' });
      }, collectMs);
    };
    const variables = subscriptionId === undefined ? {} : { filter: { subscriptionIds: [subscriptionId] } };
    const stop = live.subscribe(
      { query: stringifyDocument(LoggedAttemptsDocument), variables },
      { next: read, error: () => undefined, complete: () => undefined },
    );
    const forget = live.on('connected', read);
    return () => {
      stop();
      forget();
      window.clearTimeout(timer);
    };
  }, [live, refresh, subscriptionId, collectMs]);
}
