import type { Client as LiveClient } from 'graphql-ws';
import { type Client, CombinedError, stringifyDocument } from 'urql';
import {
  type DeliveryFilter,
  LogPageDocument,
  type LogPageQuery,
  type LogRowFragment,
  WatchLogDocument,
  type WatchLogSubscription,
} from '../generated/graphql.ts';
import { isErrors, restartUntil, untilEnd } from '../graphql/restart.ts';
import { RowBuffer } from './row-buffer.ts';

export type LogRow = LogRowFragment;

/** Rows that the list holds. */
const CAPACITY = 20_000;
const PAGE = 100;
/** Maximum pages that are read for one more row if `matches` selects no row of them. */
const MAX_PAGES = 10;
/** Milliseconds between two renders. Each costs about 10 ms, and a person cannot read 1,000 rows a second. */
const RENDER_EVERY_MS = 100;

/** `succeed` is called at each row. */
type Run = { readonly signal: AbortSignal; readonly succeed: () => void };

type Clients = { readonly urql: Client; readonly live: LiveClient };

export type LogState = {
  readonly phase: 'loading' | 'ready';
  readonly error: CombinedError | undefined;
  readonly hasOlder: boolean;
  readonly isLoadingOlder: boolean;
  /** The start of the oldest attempt read, matching or not; undefined if none was read. */
  readonly readBackTo: string | undefined;
};

/**
 * The attempts that match a filter: the newest page, then each one as it is logged. Rows bypass the normalised cache, and
 * React renders at most ten times a second. A new connection, and a new stream after a failed one, continue after the last
 * cursor: each row is shown once.
 */
export class LiveLog {
  /** The matching rows. The object stays the same, so that a frame copies nothing. */
  readonly rows = new RowBuffer<LogRow>(CAPACITY);
  readonly #filter: DeliveryFilter;
  readonly #matches: (row: LogRow) => boolean;
  readonly #listeners = new Set<() => void>();
  #state: LogState = {
    phase: 'loading',
    error: undefined,
    hasOlder: false,
    isLoadingOlder: false,
    readBackTo: undefined,
  };
  #cursor: string | undefined;
  #endCursor: string | undefined;
  #isRendering = false;
  /** Set while the next render is scheduled. */
  #renderTimer: ReturnType<typeof setTimeout> | undefined;
  #renderedAt = Number.NEGATIVE_INFINITY;
  #version = 0;
  #clients: Clients | undefined;

  /** `matches` is the part of the filter that the server cannot apply. */
  constructor(filter: DeliveryFilter, matches: (row: LogRow) => boolean) {
    this.#filter = filter;
    this.#matches = matches;
  }

  get state(): LogState {
    return this.#state;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** For useSyncExternalStore: changes at most once in RENDER_EVERY_MS, in an animation frame. */
  readonly getVersion = (): number => this.#version;

  /** Reads and watches until the returned function is called. May be called again, with other clients. */
  connect(clients: Clients): () => void {
    this.#clients = clients;
    const ending = new AbortController();
    const { signal } = ending;
    void restartUntil(signal, (succeed) => this.#run(clients, { signal, succeed }));
    return () => {
      ending.abort();
      this.#clients = undefined;
      if (this.#renderTimer !== undefined) this.#renderInFrame();
    };
  }

  /** Reads the newest page and watches, until one of them fails. */
  async #run(clients: Clients, { signal, succeed }: Run): Promise<void> {
    // After an error, a page shows whether the server answers again.
    if (this.#cursor === undefined || this.#state.error !== undefined) {
      const { data, error } = await clients.urql
        .query(LogPageDocument, { filter: this.#filter, first: PAGE }, { requestPolicy: 'network-only' })
        .toPromise();
      if (signal.aborted) return;
      if (data === undefined) {
        this.#change({ phase: 'ready', error });
        return;
      }
      if (this.#cursor === undefined) this.#addOlder(data);
    }
    this.#change({ phase: 'ready', error: undefined });
    await this.#watch(clients, { signal, succeed });
  }

  /** Appends the rows of a stream until it ends. */
  async #watch({ live }: Clients, { signal, succeed }: Run): Promise<void> {
    const filter = this.#filter;
    const cursor = () => this.#cursor;
    const variables = {
      filter,
      // The client serializes the variables for each connection.
      get after() {
        return cursor();
      },
    };
    // Without a cursor the stream begins now. The server answers a later request for a page on the same socket after it.
    const readWhileEmpty = () => {
      if (this.#cursor !== undefined || signal.aborted) return;
      live.subscribe<LogPageQuery>(
        { query: stringifyDocument(LogPageDocument), variables: { filter, first: PAGE } },
        { next: ({ data }) => data != null && this.#addOlder(data), error: () => undefined, complete: () => undefined },
      );
    };
    const ended = untilEnd<WatchLogSubscription>(
      live,
      { query: stringifyDocument(WatchLogDocument), variables },
      {
        signal,
        next: ({ data, errors }) => {
          if (errors !== undefined) this.#fail(errors);
          else if (data != null) {
            succeed();
            this.#append(data.deliveryLog);
          }
        },
      },
    );
    readWhileEmpty();
    const stopReading = live.on('connected', readWhileEmpty);
    const error = await ended;
    stopReading();
    if (isErrors(error)) this.#fail(error);
  }

  /** Reads one more page at the old end, or several until a row matches. */
  readonly loadOlder = async (): Promise<void> => {
    if (this.#state.isLoadingOlder) return;
    this.#change({ isLoadingOlder: true });
    const { length } = this.rows;
    for (let page = 0; page < MAX_PAGES && this.rows.length === length; page += 1) {
      // Scrolling reads a failed page again.
      if (!(await this.#readOlderPage())) break;
    }
    this.#change({ isLoadingOlder: false });
  };

  /** Returns whether an older page existed and was read. */
  async #readOlderPage(): Promise<boolean> {
    if (!this.#state.hasOlder || this.rows.isFull || this.#clients === undefined) return false;
    const variables = {
      filter: this.#filter,
      first: PAGE,
      ...(this.#endCursor !== undefined && { after: this.#endCursor }),
    };
    const { data } = await this.#clients.urql
      .query(LogPageDocument, variables, { requestPolicy: 'network-only' })
      .toPromise();
    if (data !== undefined) this.#addOlder(data);
    return data !== undefined;
  }

  #addOlder({ deliveryLog: { edges, pageInfo } }: LogPageQuery): void {
    this.rows.prepend(edges.map(({ node }) => node).filter(this.#matches));
    this.#cursor ??= edges[0]?.cursor;
    this.#endCursor = pageInfo.endCursor ?? this.#endCursor;
    this.#change({
      hasOlder: pageInfo.hasNextPage,
      readBackTo: edges.at(-1)?.node.startedAt ?? this.#state.readBackTo,
    });
  }

  #append(row: LogRow): void {
    if (this.#state.error !== undefined) this.#change({ error: undefined });
    this.#cursor = row.cursor;
    if (!this.#matches(row)) return;
    this.rows.append(row);
    this.#render();
  }

  #fail(errors: readonly { readonly message: string }[]): void {
    this.#change({ error: new CombinedError({ graphQLErrors: [...errors] }) });
  }

  #change(change: Partial<LogState>): void {
    this.#state = { ...this.#state, ...change };
    this.#render();
  }

  #render(): void {
    if (this.#isRendering) return;
    this.#isRendering = true;
    const waitMs = this.#renderedAt + RENDER_EVERY_MS - performance.now();
    if (waitMs > 0) this.#renderTimer = setTimeout(() => this.#renderInFrame(), waitMs);
    else this.#renderInFrame();
  }

  #renderInFrame(): void {
    clearTimeout(this.#renderTimer);
    this.#renderTimer = undefined;
    requestAnimationFrame(() => {
      this.#isRendering = false;
      this.#renderedAt = performance.now();
      this.#version += 1;
      for (const listener of this.#listeners) listener();
    });
  }
}
