import type { Client as LiveClient } from 'graphql-ws';
import { stringifyDocument, type TypedDocumentNode } from 'urql';
import { ChangesCursorDocument } from '../generated/graphql.ts';
import type { Clients } from './client.ts';
import { isForbidden, restartUntil } from './restart.ts';

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
  let isRestart = false;
  void restartUntil(signal, async (succeed) => {
    if (isRestart) onEnd();
    isRestart = true;
    const { data } = await urql.query(ChangesCursorDocument, {}, { requestPolicy: 'network-only' }).toPromise();
    if (signal.aborted) return;
    onBegin();
    if (data === undefined) return;
    const ended = new AbortController();
    const end = () => ended.abort();
    signal.addEventListener('abort', end);
    const isOver = new Promise((resolve) => ended.signal.addEventListener('abort', resolve));
    for (const stream of streams) {
      resume(live, stream, { cursor: data.changesCursor, signal: ended.signal, onChange: succeed, onEnd: end });
    }
    await isOver;
    signal.removeEventListener('abort', end);
  });
  return () => ending.abort();
}

type Resumption = {
  readonly cursor: string;
  readonly signal: AbortSignal;
  readonly onChange: () => void;
  /**
   * The stream ended: the changes since the cursor are no longer known, the server cannot read them, or the socket was closed
   * with a code after which the client does not reconnect.
   */
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
      error: (error) => isForbidden(error) || onEnd(),
      complete: onEnd,
    },
  );
  signal.addEventListener('abort', stop);
}
