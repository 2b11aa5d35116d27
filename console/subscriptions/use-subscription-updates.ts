import { useEffect } from 'react';
import { stringifyDocument, type UseQueryExecute } from 'urql';
import { SubscriptionAttemptsDocument } from '../generated/graphql.ts';
import { useLiveClient } from '../graphql/use-clients.tsx';

/** Attempts that are logged within this time lead to one read. */
const COLLECT_MS = 1_000;

/** Reads the subscription again when its attempts are logged, at most once a second. */
export function useSubscriptionUpdates(id: string, refresh: UseQueryExecute): void {
  const live = useLiveClient();
  useEffect(() => {
    let timer: number | undefined;
    const read = () => {
      timer ??= window.setTimeout(() => {
        timer = undefined;
        refresh({ requestPolicy: 'network-only' });
      }, COLLECT_MS);
    };
    const stop = live.subscribe(
      { query: stringifyDocument(SubscriptionAttemptsDocument), variables: { id } },
      { next: read, error: () => undefined, complete: () => undefined },
    );
    // Attempts may have been logged while the socket was reconnecting.
    const forget = live.on('connected', read);
    return () => {
      stop();
      forget();
      window.clearTimeout(timer);
    };
  }, [live, id, refresh]);
}
