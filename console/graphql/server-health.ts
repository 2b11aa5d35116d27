import type { Client as LiveClient } from 'graphql-ws';
import { useEffect } from 'react';
import { stringifyDocument } from 'urql';
import {
  type HealthFragment,
  WatchServerHealthDocument,
  type WatchServerHealthSubscription,
} from '../generated/graphql.ts';
import { restartUntil, untilEnd } from './restart.ts';
import { createStore } from './store.ts';
import { useClients } from './use-clients.tsx';
import { useViewer } from './use-viewer.ts';

/** The state of the server's parts, pushed to operators; undefined while it is not known, and for other viewers. */
export const serverHealth = createStore<HealthFragment | undefined>(undefined);

/** Watches the state for as long as the component is shown. One component of the shell calls it. */
export function useWatchServerHealth(): void {
  const { live } = useClients();
  const { isAdmin } = useViewer();
  useEffect(() => {
    if (!isAdmin) return;
    const ending = new AbortController();
    const { signal } = ending;
    void restartUntil(signal, (succeed) => watch(live, { signal, succeed }));
    return () => ending.abort();
  }, [live, isAdmin]);
}

type Run = { readonly signal: AbortSignal; readonly succeed: () => void };

/** Sets the pushed states until the stream ends. */
async function watch(live: LiveClient, { signal, succeed }: Run): Promise<void> {
  await untilEnd<WatchServerHealthSubscription>(
    live,
    { query: stringifyDocument(WatchServerHealthDocument) },
    {
      signal,
      next: ({ data }) => {
        if (data == null) return;
        succeed();
        serverHealth.set(data.serverHealth);
      },
    },
  );
  serverHealth.set(undefined);
}
