import type { FormattedExecutionResult } from 'graphql';
import type { Client as LiveClient, SubscribePayload } from 'graphql-ws';
import { CombinedError } from 'urql';
import { isTemporary } from './retry.ts';

/** Milliseconds before a stream that ended begins again; doubles until a stream succeeds. */
const RESTART_MS = 1_000;
const LONGEST_RESTART_MS = 60_000;

/**
 * Runs a stream, and again each time it ends, until the signal is aborted. `run` calls `succeed` when the stream works: the
 * next pause is the shortest again.
 */
export async function restartUntil(signal: AbortSignal, run: (succeed: () => void) => Promise<void>): Promise<void> {
  let pauseMs = RESTART_MS;
  const succeed = () => {
    pauseMs = RESTART_MS;
  };
  while (!signal.aborted) {
    await run(succeed);
    const waitMs = pauseMs;
    pauseMs = Math.min(LONGEST_RESTART_MS, pauseMs * 2);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

/** The close code of graphql-ws when the server rejects the credential, at the start or later. */
const FORBIDDEN = 4403;

/** Whether a stream ended because the server rejects the credential. It begins again after the next sign-in. */
export function isForbidden(error: unknown): boolean {
  return error instanceof Event && 'code' in error && error.code === FORBIDDEN;
}

type Reader<Data> = { readonly signal: AbortSignal; readonly next: (result: FormattedExecutionResult<Data>) => void };

/**
 * Reads a stream until it ends or the signal is aborted. Resolves with its error; undefined if it completed or was stopped. A
 * stream whose credential is rejected stays pending: the next sign-in has another client.
 */
export function untilEnd<Data extends object>(
  live: LiveClient,
  payload: SubscribePayload,
  { signal, next }: Reader<Data>,
): Promise<unknown> {
  return new Promise((resolve) => {
    const end = (error?: unknown) => {
      signal.removeEventListener('abort', stop);
      resolve(error);
    };
    const unsubscribe = live.subscribe<Data>(payload, {
      next,
      error: (error) => isForbidden(error) || end(error),
      complete: () => end(),
    });
    const stop = () => {
      unsubscribe();
      end();
    };
    signal.addEventListener('abort', stop);
  });
}

type Sink<Data> = {
  readonly next: (result: FormattedExecutionResult<Data>) => void;
  readonly error: (error: unknown) => void;
  readonly complete: () => void;
};

/**
 * Reads a stream that begins with the present state, and again after it failed for a temporary reason, such as an outage of
 * Postgres. Returns a function that stops it.
 */
export function subscribeAgain<Data extends object>(
  live: LiveClient,
  payload: SubscribePayload,
  sink: Sink<Data>,
): () => void {
  const ending = new AbortController();
  const { signal } = ending;
  void restartUntil(signal, async (succeed) => {
    const next = (result: FormattedExecutionResult<Data>) => {
      succeed();
      sink.next(result);
    };
    const error = await untilEnd<Data>(live, payload, { signal, next });
    if (signal.aborted || (error !== undefined && canSucceedLater(error))) return;
    ending.abort();
    if (error === undefined) sink.complete();
    else sink.error(error);
  });
  return () => ending.abort();
}

type Errors = readonly { readonly message: string }[];

/** Whether the server ended the stream with errors. Other errors are those of the socket. */
export function isErrors(error: unknown): error is Errors {
  return Array.isArray(error);
}

function canSucceedLater(error: unknown): boolean {
  return !isErrors(error) || isTemporary(new CombinedError({ graphQLErrors: [...error] }));
}
