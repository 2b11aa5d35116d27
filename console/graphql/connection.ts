import { type Client, createClient } from 'graphql-ws';
import { endSession } from '../session/session.ts';
import { isForbidden } from './restart.ts';
import { createStore } from './store.ts';
import { GRAPHQL_URL } from './urls.ts';

/** The state of the WebSocket that pushes updates. Times are milliseconds since 1970. */
type Connection =
  | { readonly state: 'idle' }
  | { readonly state: 'connecting' }
  | { readonly state: 'live' }
  | { readonly state: 'reconnecting'; readonly since: number }
  | { readonly state: 'ended' };

export const connection = createStore<Connection>({ state: 'idle' });

const PING_EVERY_MS = 12_000;
/** Milliseconds to wait for a pong. Without one the connection is lost, for example after the computer slept. */
const PONG_WITHIN_MS = 6_000;
const LONGEST_WAIT_MS = 10_000;

/**
 * One WebSocket for all live streams of a person. It reconnects without a limit, with the current token, and sends the
 * payload of each stream again, so a stream whose variables have a getter `after` resumes after the last received row.
 */
export function createLiveClient(getKey: () => string): Client {
  let usedKey = '';
  let socket: WebSocket | undefined;
  let pongTimer: number | undefined;
  return createClient({
    url: GRAPHQL_URL.replace(/^http/, 'ws'),
    connectionParams: () => {
      usedKey = getKey();
      return { authorization: `Bearer ${usedKey}` };
    },
    lazy: true,
    lazyCloseTimeout: 3_000,
    keepAlive: PING_EVERY_MS,
    retryAttempts: Number.POSITIVE_INFINITY,
    retryWait: (retries) => wait(retries),
    // If the token has been renewed since, the expiry of the old one does not end the streams.
    shouldRetry: (event) => !isForbidden(event) || usedKey !== getKey(),
    on: {
      connecting: (isRetrying) => {
        if (!isRetrying && connection.get().state !== 'reconnecting') connection.set({ state: 'connecting' });
      },
      opened: (opened) => {
        // The browser's class; the library types it as unknown because other platforms have others.
        socket = opened as WebSocket;
      },
      connected: () => connection.set({ state: 'live' }),
      ping: (isReceived) => {
        if (isReceived) return;
        pongTimer = window.setTimeout(() => {
          if (socket?.readyState === WebSocket.OPEN) socket.close(4408, 'no answer to a ping');
        }, PONG_WITHIN_MS);
      },
      pong: (isReceived) => {
        if (isReceived) window.clearTimeout(pongTimer);
      },
      closed: (event) => {
        window.clearTimeout(pongTimer);
        onClosed(event, usedKey !== getKey());
      },
    },
  });
}

function onClosed(event: unknown, isRenewed: boolean): void {
  if (isForbidden(event) && !isRenewed) {
    endSession();
    connection.set({ state: 'ended' });
  } else if (event instanceof CloseEvent && event.code === 1000) connection.set({ state: 'idle' });
  else if (connection.get().state !== 'reconnecting') connection.set({ state: 'reconnecting', since: Date.now() });
}

/** Doubles from 0.5 s to 10 s, with jitter, and ends at once when the network is back or the tab is shown. */
function wait(retries: number): Promise<void> {
  const ms = Math.min(LONGEST_WAIT_MS, 500 * 2 ** retries) * (0.75 + Math.random() / 2);
  return new Promise((resolve) => {
    const ending = new AbortController();
    const end = () => {
      ending.abort();
      window.clearTimeout(timer);
      resolve();
    };
    const timer = window.setTimeout(end, ms);
    window.addEventListener('online', end, { signal: ending.signal });
    document.addEventListener('visibilitychange', end, { signal: ending.signal });
  });
}
