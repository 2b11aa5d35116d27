import { request } from 'node:http';
import { type Client, type ClientOptions, createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { waitFor } from './wait-for.ts';

export type Operation = {
  /** Sent as `Authorization: Bearer …`. */
  readonly credentials: string;
  readonly query: string;
  readonly variables?: Readonly<Record<string, unknown>>;
};

type GraphqlError = { readonly message: string; readonly extensions?: Readonly<Record<string, unknown>> };

export type OperationResponse = {
  readonly status: number;
  /** The raw response body. */
  readonly text: string;
  // The caller declares the type of the fields it selects.
  readonly data: Readonly<Record<string, unknown>> | null | undefined;
  readonly errors: readonly GraphqlError[] | undefined;
};

/** Sends a query or mutation over HTTP with the given credentials. */
export async function postOperation(
  url: string,
  { credentials, query, variables }: Operation,
): Promise<OperationResponse> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${credentials}` },
    body: JSON.stringify({ query, variables }),
  });
  const text = await response.text();
  // `as`: the tests check the content of the answer.
  const { data, errors } = JSON.parse(text) as Pick<OperationResponse, 'data' | 'errors'>;
  return { status: response.status, text, data, errors };
}

/** A live stream over any transport. */
export type Stream = {
  /** All text received so far. */
  readonly text: () => string;
  readonly isOver: () => boolean;
  /** Code and reason with which a socket was closed. */
  readonly closedWith: () => { readonly code: number; readonly reason: string } | undefined;
  close(): void;
};

export type EventStream = Stream & { readonly contentType: string; pause(): void; resume(): void };

/** Opens a stream over Server-Sent Events; resolves when the answer has begun. A GET sends no variables. */
export function openEvents(
  url: string,
  { credentials, query, variables, method = 'POST' }: Operation & { readonly method?: 'GET' | 'POST' },
): Promise<EventStream> {
  const isGet = method === 'GET';
  const path = isGet ? `/graphql?query=${encodeURIComponent(query)}` : '/graphql';
  const headers = {
    authorization: `Bearer ${credentials}`,
    accept: 'text/event-stream',
    ...(!isGet && { 'content-type': 'application/json' }),
  };
  return new Promise((resolve, reject) => {
    const outgoing = request(`${url}${path}`, { method, headers }, (response) => {
      let text = '';
      let isOver = false;
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on('close', () => {
        isOver = true;
      });
      response.on('error', () => undefined);
      resolve({
        text: () => text,
        isOver: () => isOver,
        closedWith: () => undefined,
        contentType: response.headers['content-type'] ?? '',
        pause: () => response.pause(),
        resume: () => response.resume(),
        close: () => outgoing.destroy(),
      });
    });
    outgoing.on('error', reject);
    outgoing.end(isGet ? undefined : JSON.stringify({ query, variables }));
  });
}

/** A graphql-ws client that does not reconnect. */
export function createSocketClient(url: string, credentials: string, options: Partial<ClientOptions> = {}): Client {
  return createClient({
    url: `${url.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    connectionParams: { authorization: `Bearer ${credentials}` },
    ...options,
  });
}

export type Collected<Data> = { readonly data: Data[]; readonly errors: unknown[]; isOver: boolean };

/** Subscribes and collects the results received so far. */
export function collect<Data extends object>(
  client: Client,
  { query, variables = {} }: Omit<Operation, 'credentials'>,
): Collected<Data> {
  const collected: Collected<Data> = { data: [], errors: [], isOver: false };
  client.subscribe<Data>(
    { query, variables },
    {
      next: ({ data, errors = [] }) => {
        if (data != null) collected.data.push(data);
        collected.errors.push(...errors);
      },
      error: (error) => {
        collected.errors.push(error);
        collected.isOver = true;
      },
      complete: () => {
        collected.isOver = true;
      },
    },
  );
  return collected;
}

/** Opens a stream over graphql-ws; resolves when the server has accepted or closed the connection. */
export async function openSocket(url: string, { credentials, query, variables = {} }: Operation): Promise<Stream> {
  let text = '';
  let isOver = false;
  let isConnected = false;
  let closed: { code: number; reason: string } | undefined;
  const end = () => {
    isOver = true;
  };
  const client = createSocketClient(url, credentials, {
    on: {
      connected: () => {
        isConnected = true;
      },
      closed: (event) => {
        // `as`: the library types it as unknown; ws passes a close event.
        closed = event as { code: number; reason: string };
      },
    },
  });
  client.subscribe(
    { query, variables },
    {
      next: (result) => {
        text += JSON.stringify(result);
      },
      error: (error) => {
        text += JSON.stringify(error);
        end();
      },
      complete: end,
    },
  );
  await waitFor(() => isConnected || closed !== undefined, { what: 'the socket' });
  return {
    text: () => text,
    isOver: () => isOver,
    closedWith: () => closed && { code: closed.code, reason: closed.reason },
    close: () => {
      void client.dispose();
    },
  };
}
