import { request } from 'node:http';
import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { waitFor } from './wait-for.ts';

export type Operation = {
  /** Sent as `Authorization: Bearer …`. */
  readonly credentials: string;
  readonly query: string;
  readonly variables?: Readonly<Record<string, unknown>>;
};

type GraphqlError = { readonly message: string; readonly extensions?: Readonly<Record<string, unknown>> };

export type Answer = {
  readonly status: number;
  /** All of the body, as it came. */
  readonly text: string;
  // Whoever asks knows what was asked for.
  readonly data: Readonly<Record<string, unknown>> | null | undefined;
  readonly errors: readonly GraphqlError[] | undefined;
};

/** A query or mutation over HTTP, with anybody's credentials. */
export async function ask(url: string, { credentials, query, variables }: Operation): Promise<Answer> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${credentials}` },
    body: JSON.stringify({ query, variables }),
  });
  const text = await response.text();
  // `as`: what the server answers is what tests are about.
  const { data, errors } = JSON.parse(text) as Pick<Answer, 'data' | 'errors'>;
  return { status: response.status, text, data, errors };
}

/** A live stream, over whatever transport. */
export type Stream = {
  /** All that has come. */
  readonly text: () => string;
  readonly isOver: () => boolean;
  /** How a socket was closed. */
  readonly closedWith: () => { readonly code: number; readonly reason: string } | undefined;
  close(): void;
};

/** Over Server-Sent Events; back when the answer has begun. */
export function openEvents(url: string, { credentials, query, variables }: Operation): Promise<Stream> {
  const headers = {
    authorization: `Bearer ${credentials}`,
    accept: 'text/event-stream',
    'content-type': 'application/json',
  };
  return new Promise((resolve, reject) => {
    const outgoing = request(`${url}/graphql`, { method: 'POST', headers }, (response) => {
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
        close: () => outgoing.destroy(),
      });
    });
    outgoing.on('error', reject);
    outgoing.end(JSON.stringify({ query, variables }));
  });
}

/** Over graphql-ws; back when the server has let it in, or has closed. */
export async function openSocket(url: string, { credentials, query, variables = {} }: Operation): Promise<Stream> {
  let text = '';
  let isOver = false;
  let isConnected = false;
  let closed: { code: number; reason: string } | undefined;
  const end = () => {
    isOver = true;
  };
  const client = createClient({
    ...{ url: `${url.replace('http', 'ws')}/graphql`, webSocketImpl: WebSocket, retryAttempts: 0 },
    connectionParams: { authorization: `Bearer ${credentials}` },
    on: {
      connected: () => {
        isConnected = true;
      },
      closed: (event) => {
        // `as`: the library says unknown; ws hands over a close event.
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
