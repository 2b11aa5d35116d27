import { useEffect, useRef, useState } from 'react';
import { type AnyVariables, type CombinedError, type TypedDocumentNode, useQuery } from 'urql';
import { useClients } from './use-clients.tsx';
import { type ChangeStream, watchChanges } from './watch-changes.ts';

/**
 * Watches the streams while the component is shown, each once. The result is the number of the watch; undefined until it has
 * begun, because what is read before that can miss changes. Without streams it is 0 at once. `onBegin` is called first.
 */
export function useChanges(streams: readonly ChangeStream[], onBegin?: () => void): number | undefined {
  const clients = useClients();
  const key = JSON.stringify(streams.map(({ query, filter }) => [query, filter]));
  const [watch, setWatch] = useState<{ readonly key: string; readonly number: number }>();
  const latest = useRef({ streams, onBegin });
  useEffect(() => {
    latest.current = { streams, onBegin };
  });
  useEffect(() => {
    const watched = latest.current.streams.map((stream, index) => ({
      ...stream,
      onChange: (data: unknown) => latest.current.streams[index]?.onChange(data),
    }));
    if (watched.length === 0) return undefined;
    return watchChanges(clients, {
      streams: watched,
      onBegin: () => {
        latest.current.onBegin?.();
        setWatch({ key, number: (watches += 1) });
      },
      onEnd: () => setWatch(undefined),
    });
  }, [clients, key]);
  if (streams.length === 0) return 0;
  return watch?.key === key ? watch.number : undefined;
}

let watches = 0;

type WatchedQuery<Data, Variables extends AnyVariables> = {
  readonly query: TypedDocumentNode<Data, Variables>;
  readonly variables: Variables;
  /** The streams for the objects of the result. They call `changed` at each change that can affect it. */
  readonly streams: (data: Data, changed: () => void) => readonly ChangeStream[];
  /** Milliseconds for which changes are collected before the query is read again. */
  readonly collectMs: number;
};

type WatchedState<Data> = {
  readonly data: Data | undefined;
  readonly error: CombinedError | undefined;
  readonly fetching: boolean;
};

/**
 * A query that is repeated when streams push a change. It is read once to determine the streams, and again when they have
 * begun. Returns its state, and a function that reads it now.
 */
export function useWatchedQuery<Data, Variables extends AnyVariables>(
  options: WatchedQuery<Data, Variables>,
): readonly [WatchedState<Data>, () => void] {
  const { query, variables, streams, collectMs } = options;
  const timer = useRef<number>(undefined);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  const changed = () => {
    timer.current ??= window.setTimeout(() => {
      timer.current = undefined;
      read.current();
    }, collectMs);
  };
  const [known, setKnown] = useState<Data>();
  // oxlint-disable-next-line react/refs -- the streams call it after the rendering
  const watch = useChanges(known === undefined ? [] : streams(known, changed));
  const [{ data, error, fetching }, execute] = useQuery({ query, variables, pause: watch === undefined });
  if (known !== data) setKnown(() => data);
  const refresh = () => execute({ requestPolicy: 'network-only' });
  const read = useRef(refresh);
  useEffect(() => {
    read.current = refresh;
  });
  return [{ data, error, fetching }, refresh];
}
