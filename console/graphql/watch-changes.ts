import type { Client as LiveClient } from 'graphql-ws';
import { stringifyDocument, type TypedDocumentNode } from 'urql';
import { ChangesCursorDocument } from '../generated/graphql.ts';
import type { Clients } from './client.ts';

/** A live stream of changes; its subscription has the variables `filter` and `after`. */
export type ChangeStream = {
  /** The text of the subscription. */
  readonly query: string;
  readonly filter: object;
  readonly onChange: (data: unknown) => void;
};

type TypedStream<Data, Filter> = {
  readonly document: TypedDocumentNode<Data, { filter?: Filter | null; after?: string | null }>;
  readonly filter: Filter;
  readonly onChange: (data: Data) => void;
};

export function changeStream<Data, Filter extends object>(stream: TypedStream<Data, Filter>): ChangeStream {
  const { document, filter, onChange } = stream;
  // `as`: the answer has the type of the document.
  return { query: stringifyDocument(document), filter, onChange: (data) => onChange(data as Data) };
}

/** Milliseconds before streams that ended begin again; doubles while they end without a change. */
const RESTART_MS = 1_000;
const LONGEST_RESTART_MS = 60_000;

type Watch = {
  readonly streams: readonly ChangeStream[];
  /** Called when a new query misses no change. Also called if the streams cannot begin; they are then retried. */
  readonly onBegin: () => void;
  /** Called when the streams have ended; they begin again later. */
  readonly onEnd: () => void;
};

/**
 * Watches streams of changes until the returned function is called. A new connection continues after the last change. If
 * that is impossible, after more than an hour, the streams begin again.
 */
export function watchChanges({ urql, live }: Clients, { streams, onBegin, onEnd }: Watch): () => void {
  const ending = new AbortController();
  const { signal } = ending;
  let restartMs = RESTART_MS;
  const begin = async () => {
    const { data } = await urql.query(ChangesCursorDocument, {}, { requestPolicy: 'network-only' }).toPromise();
    if (signal.aborted) return;
    onBegin();
    if (data === undefined) {
      restart();
      return;
    }
    const ended = new AbortController();
    signal.addEventListener('abort', () => ended.abort());
    for (const stream of streams) {
      resume(live, stream, {
        cursor: data.changesCursor,
        signal: ended.signal,
        onChange: () => (restartMs = RESTART_MS),
        onEnd: () => {
          ended.abort();
          restart();
        },
      });
    }
  };
  const restart = () => {
    const timer = window.setTimeout(() => {
      onEnd();
      void begin();
    }, restartMs);
    restartMs = Math.min(LONGEST_RESTART_MS, restartMs * 2);
    signal.addEventListener('abort', () => window.clearTimeout(timer));
  };
  void begin();
  return () => ending.abort();
}

type Resumption = {
  readonly cursor: string;
  readonly signal: AbortSignal;
  readonly onChange: () => void;
  /** The server ended the stream: the changes since the cursor are no longer known, or it cannot read them. */
  readonly onEnd: () => void;
};

function resume(live: LiveClient, { query, filter, onChange }: ChangeStream, resumption: Resumption): void {
  const { signal, onEnd } = resumption;
  let { cursor } = resumption;
  const variables = {
    filter,
    // The client serializes the variables for each connection.
    get after() {
      return cursor;
    },
  };
  const end = () => {
    if (!signal.aborted) onEnd();
  };
  const stop = live.subscribe<Record<string, { readonly cursor: string }>>(
    { query, variables },
    {
      next: ({ data }) => {
        const change = Object.values(data ?? {})[0];
        if (change === undefined || signal.aborted) return;
        ({ cursor } = change);
        resumption.onChange();
        onChange(data);
      },
      // Otherwise the socket was closed permanently, which the connection state shows.
      error: (error) => Array.isArray(error) && end(),
      complete: end,
    },
  );
  signal.addEventListener('abort', stop);
}
